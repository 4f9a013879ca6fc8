//! The other process: this program again, for the receiving side.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child as Process, ChildStdin, ChildStdout, Command},
};

use crate::{message::Tally, options::Workload, transport::Contender};

/// A child that runs. It is ended by its id when this is dropped, and ends by itself when its
/// standard input is closed, as it is when this process dies.
pub struct Child {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
    _stdin: Option<ChildStdin>,
}

/// What the child has received, and what that has cost it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub tally: Tally,
    pub cpu: Duration,
}

impl Child {
    /// Starts a child, and says where it can be dialled.
    pub async fn start(contender: Contender, workload: Workload) -> Result<(Self, String)> {
        let program = std::env::current_exe().context("where this program lies")?;
        let mut process = Command::new(program)
            .args(["serve", &contender.argument(), &workload.argument()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the child")?;
        let stdout = process.stdout.take().context("the child's output")?;
        let mut child = Self {
            _stdin: process.stdin.take(),
            process,
            lines: BufReader::new(stdout).lines(),
        };
        let hello = child.line().await?;
        let address = hello["address"].as_str().context("the child's address")?;
        Ok((child, address.to_owned()))
    }

    /// Waits until the child has received everything.
    pub async fn outcome(&mut self) -> Result<Outcome> {
        let line = self.line().await?;
        let number = |name: &str| line[name].as_u64().with_context(|| name.to_owned());
        Ok(Outcome {
            tally: Tally {
                count: number("count")?,
                sum: number("sum")?,
                misplaced: number("misplaced")?,
            },
            cpu: Duration::from_micros(number("cpu_us")?),
        })
    }

    /// Ends the child and waits until it has ended.
    pub async fn end(mut self) -> Result<()> {
        self.process.kill().await.context("cannot end the child")
    }

    async fn line(&mut self) -> Result<Value> {
        let line = self.lines.next_line().await?;
        ensure!(line.is_some(), "the child has ended");
        serde_json::from_str(&line.unwrap_or_default()).context("what the child has said")
    }
}

/// What the child says first.
pub fn hello(address: &str) -> Value {
    json!({ "address": address })
}

impl Outcome {
    /// What the child says at the end.
    pub fn line(&self) -> Value {
        json!({
            "count": self.tally.count,
            "sum": self.tally.sum,
            "misplaced": self.tally.misplaced,
            "cpu_us": u64::try_from(self.cpu.as_micros()).unwrap_or(u64::MAX),
        })
    }
}
