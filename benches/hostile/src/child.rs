//! Other processes: this program again, in a role. Each answers lines on its standard input by lines
//! of JSON.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child as Process, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long an answer may take. The longest work of a role ends within it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A child that runs. It is ended by its id when this is dropped, and ends by itself when its
/// standard input is closed, as it is when this process dies.
pub struct Child {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
    stdin: ChildStdin,
}

impl Child {
    /// Starts a child in a role, and returns its first line.
    pub async fn start(role: &[&str]) -> Result<(Self, Value)> {
        let program = std::env::current_exe().context("the path of this program")?;
        let mut process = Command::new(program)
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the parent, which ends its children.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a child")?;
        let stdout = process.stdout.take().context("the child's output")?;
        let stdin = process.stdin.take().context("the child's input")?;
        let lines = BufReader::new(stdout).lines();
        let mut child = Self {
            process,
            lines,
            stdin,
        };
        let first = child.answer().await;
        let first = first.with_context(|| format!("the child {role:?}"))?;
        Ok((child, first))
    }

    /// Writes a line that has an answer, and waits for it.
    pub async fn ask(&mut self, line: &str) -> Result<Value> {
        self.order(line).await?;
        let answer = self.answer().await;
        answer.with_context(|| format!("the answer to {line:?}"))
    }

    /// Writes a line that has no answer.
    pub async fn order(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        let written = self.stdin.write_all(line.as_bytes()).await;
        written.context("the child has ended")
    }

    /// Waits for the next line.
    async fn answer(&mut self) -> Result<Value> {
        let line = timeout(ANSWER_TIMEOUT, self.lines.next_line()).await;
        let line = line.context("the child does not answer")??;
        ensure!(line.is_some(), "the child has ended");
        serde_json::from_str(&line.unwrap_or_default()).context("a line of the child")
    }

    /// Its id in the system.
    pub fn id(&self) -> Result<u32> {
        self.process.id().context("the child has ended")
    }

    /// Ends the child and waits until it has ended.
    pub async fn end(mut self) -> Result<()> {
        self.process.kill().await.context("cannot end the child")
    }
}

/// Resident memory of a process at this moment, in bytes.
pub fn resident(id: u32) -> Result<u64> {
    memory(id, "VmRSS:")
}

/// The most resident memory that a process has ever had, in bytes.
pub fn resident_peak(id: u32) -> Result<u64> {
    memory(id, "VmHWM:")
}

fn memory(id: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let field = status.lines().find(|line| line.starts_with(name));
    let kib = field.and_then(|field| field.split_whitespace().nth(1));
    let kib: u64 = kib
        .context("no such number in the status of a process")?
        .parse()?;
    Ok(kib * 1024)
}

/// A number of an answer.
pub fn number(answer: &Value, name: &str) -> Result<u64> {
    answer[name].as_u64().with_context(|| name.to_owned())
}

/// The standard input of a role, line by line.
pub struct Orders(Lines<BufReader<tokio::io::Stdin>>);

impl Orders {
    /// Of this process.
    pub fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// The next line; `None` once the parent has gone.
    pub async fn next(&mut self) -> Option<String> {
        self.0.next_line().await.ok().flatten()
    }
}

/// Writes a line to the parent.
pub fn reply(line: &Value) {
    println!("{line}");
}
