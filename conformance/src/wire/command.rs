//! Programs in any language: a child process that reads commands and writes answers, a line each.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{self, Child, ChildStdin, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use quicpool_core::{PeerAddr, PeerId};

use super::{Failure, Identity, Program, Settings, trial::PATIENCE};

/// A [`Program`] in a child process.
///
/// The kit writes a command to its standard input, and the program writes one line to its standard
/// output when it is done:
///
/// | command | answer |
/// |---|---|
/// | `start fresh LIVENESS_MS MESSAGE_BYTES_MAX` or `start same ..` | `ok ID@ADDR` |
/// | `send ID@ADDR HEX` | `ok` |
/// | `receive PATIENCE_MS` | `ok ID HEX`, or `none` |
/// | `stop` | `ok` |
///
/// `HEX` are the bytes of a message in hexadecimal, `-` if it has none. Instead of its answer a
/// program may write `unable REASON` or `wrong WHAT`: see [`Failure`]. What it does on each command
/// is described at [`Program`]. Standard error is that of the kit. When standard input ends, or the
/// kit is done, the process is ended. A program in Rust answers by [`Command::serve`].
#[derive(Debug)]
pub struct Command {
    command: process::Command,
    child: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<String>,
}

/// Longer than a program of one's own language needs for anything but waiting.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

impl Command {
    /// A program that `command` runs. The process begins with the first start.
    pub const fn new(command: process::Command) -> Self {
        Self {
            command,
            child: None,
        }
    }

    /// Answers commands on behalf of a program, until `input` ends.
    ///
    /// # Errors
    ///
    /// Fails if a line cannot be read or written.
    pub fn serve(
        program: &mut dyn Program,
        input: impl BufRead,
        mut output: impl Write,
    ) -> io::Result<()> {
        for line in input.lines() {
            let answer = match answer(program, &line?) {
                Ok(answer) => answer,
                Err(Failure::Unable(reason)) => format!("unable {reason}"),
                Err(Failure::Wrong(what)) => format!("wrong {what}"),
            };
            writeln!(output, "{}", answer.replace('\n', " "))?;
            output.flush()?;
        }
        Ok(())
    }

    fn ask(&mut self, command: &str) -> Result<String, Failure> {
        let running = match &mut self.child {
            Some(running) => running,
            none => none.insert(Running::begin(&mut self.command).map_err(Failure::wrong)?),
        };
        writeln!(running.input, "{command}").map_err(Failure::wrong)?;
        let answer = running.answers.recv_timeout(ANSWER_TIMEOUT + PATIENCE);
        let answer =
            answer.map_err(|_| Failure::Wrong("the process does not answer".to_owned()))?;
        match answer.split_once(' ').unwrap_or((&answer, "")) {
            ("ok", rest) => Ok(rest.to_owned()),
            ("none", "") => Ok(String::new()),
            ("unable", reason) => Err(Failure::Unable(reason.to_owned())),
            ("wrong", what) => Err(Failure::Wrong(what.to_owned())),
            _ => Err(Failure::Wrong(format!("the process answered {answer:?}"))),
        }
    }
}

impl Running {
    fn begin(command: &mut process::Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let gone = || io::Error::other("the process has no standard streams");
        let input = child.stdin.take().ok_or_else(gone)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        let (lines, answers) = mpsc::channel();
        // It ends with the process, or when the kit listens no longer.
        thread::spawn(move || {
            let lines_of_child = output.lines().map_while(Result::ok);
            for line in lines_of_child {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            input,
            answers,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program for Command {
    fn start(&mut self, settings: &Settings) -> Result<PeerAddr, Failure> {
        let identity = match settings.identity {
            Identity::Fresh => "fresh",
            Identity::Same => "same",
        };
        let (liveness, max) = (
            settings.liveness_timeout.as_millis(),
            settings.message_bytes_max,
        );
        let answer = self.ask(&format!("start {identity} {liveness} {max}"))?;
        answer.parse().map_err(Failure::wrong)
    }

    fn send(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure> {
        self.ask(&format!("send {to} {}", hex(message))).map(drop)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<(PeerId, Vec<u8>)>, Failure> {
        let answer = self.ask(&format!("receive {}", patience.as_millis()))?;
        let Some((id, message)) = answer.split_once(' ') else {
            return Ok(None);
        };
        let id = id.parse().map_err(Failure::wrong)?;
        Ok(Some((id, unhex(message)?)))
    }

    fn stop(&mut self) -> Result<(), Failure> {
        match self.child {
            Some(_) => self.ask("stop").map(drop),
            None => Ok(()),
        }
    }
}

/// Returns the answer of a program to a command.
fn answer(program: &mut dyn Program, command: &str) -> Result<String, Failure> {
    let words: Vec<_> = command.split(' ').collect();
    match words[..] {
        ["start", identity, liveness, max] => {
            let settings = Settings {
                identity: match identity {
                    "same" => Identity::Same,
                    _ => Identity::Fresh,
                },
                liveness_timeout: Duration::from_millis(number(liveness)?),
                message_bytes_max: usize::try_from(number(max)?).map_err(Failure::wrong)?,
            };
            Ok(format!("ok {}", program.start(&settings)?))
        }
        ["send", to, message] => {
            let to = to.parse().map_err(Failure::wrong)?;
            program.send(to, &unhex(message)?)?;
            Ok("ok".to_owned())
        }
        ["receive", patience] => {
            let received = program.receive(Duration::from_millis(number(patience)?))?;
            Ok(match received {
                Some((from, message)) => format!("ok {from} {}", hex(&message)),
                None => "none".to_owned(),
            })
        }
        ["stop"] => program.stop().map(|()| "ok".to_owned()),
        _ => Err(Failure::Wrong(format!("{command:?} is no command"))),
    }
}

fn number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(Failure::wrong)
}

/// Bytes as a word that is never empty.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    match bytes {
        [] => "-".to_owned(),
        _ => bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect(),
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    if text == "-" {
        return Ok(Vec::new());
    }
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| Failure::Wrong(format!("{text:.20?} is not hexadecimal")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_word_and_come_back() {
        for bytes in [&[][..], &[0], &[0xff, 0x0a], &[1; 300]] {
            let text = hex(bytes);
            assert!(!text.is_empty() && !text.contains(' '), "{text}");
            assert_eq!(unhex(&text), Ok(bytes.to_vec()));
        }
        for text in ["", "0", "zz", "0g"] {
            assert_eq!(unhex(text).is_ok(), text.is_empty(), "{text}");
        }
    }
}
