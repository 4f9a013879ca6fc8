//! Prints results and remarks, and accepts a closed pipe.

use std::{
    fmt,
    io::{self, BufWriter, ErrorKind, Write},
};

/// Prints to stdout. A closed pipe is no error.
pub(crate) fn to_stdout(
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'_>>) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            // What is left in the buffer has no reader.
            let _ = out.into_parts();
            Ok(())
        }
        result => result,
    }
}

/// Prints a remark beside the result to stderr, and ignores errors.
pub(crate) fn remark(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}
