//! The results of a check, as data and as tables.

use std::fmt;

/// The result of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The program keeps the rule.
    Held,
    /// The program breaks the rule, in this way.
    Broken(String),
    /// The program cannot be asked, for this reason.
    NotApplicable(String),
}

impl Outcome {
    const fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken(_) => "BROKEN",
            Self::NotApplicable(_) => "n/a",
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Held => None,
            Self::Broken(why) | Self::NotApplicable(why) => Some(why),
        }
    }
}

/// A rule and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The name of the rule.
    pub rule: &'static str,
    /// What must hold.
    pub must: &'static str,
    /// The result.
    pub outcome: Outcome,
}

impl Line {
    pub(crate) const fn new(rule: &'static str, must: &'static str, outcome: Outcome) -> Self {
        Self {
            rule,
            must,
            outcome,
        }
    }
}

/// The results of a check of one program. Its `Display` is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name of the program.
    pub program: String,
    /// One for each rule that was asked.
    pub lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new(program: &str, lines: Vec<Line>) -> Self {
        Self {
            program: program.to_owned(),
            lines,
        }
    }

    /// Whether no rule is broken.
    pub fn is_kept(&self) -> bool {
        self.broken().is_empty()
    }

    /// The names of the rules that are broken.
    pub fn broken(&self) -> Vec<&'static str> {
        let is_broken = |line: &&Line| matches!(line.outcome, Outcome::Broken(_));
        let broken = self.lines.iter().filter(is_broken);
        broken.map(|line| line.rule).collect()
    }

    fn line(&self, rule: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.rule == rule)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Table::new([self.clone()]).fmt(f)
    }
}

/// The reports of several programs side by side: a row for each rule, a column for each program, and
/// the reasons below.
///
/// ```
/// use quicpool_conformance::{Line, Outcome, Report, Table};
///
/// let line = |outcome| Line { rule: "sizes", must: "Messages of every size arrive.", outcome };
/// let report = |program: &str, outcome| Report { program: program.to_owned(), lines: vec![line(outcome)] };
/// let table = Table::new([
///     report("ours", Outcome::Held),
///     report("theirs", Outcome::Broken("message 3 of 9 is missing".to_owned())),
/// ]);
/// assert_eq!(table.to_string(), "\
/// rule   ours  theirs  what must hold
/// sizes  held  BROKEN  Messages of every size arrive.
///
/// sizes, theirs: BROKEN: message 3 of 9 is missing
/// ");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    reports: Vec<Report>,
}

impl Table {
    /// A table of these reports, in their order.
    pub fn new(reports: impl IntoIterator<Item = Report>) -> Self {
        Self {
            reports: reports.into_iter().collect(),
        }
    }

    /// The rules of all reports, each once, in the order in which they first come.
    fn rules(&self) -> Vec<&Line> {
        let mut rules: Vec<&Line> = Vec::new();
        for line in self.reports.iter().flat_map(|report| &report.lines) {
            if rules.iter().all(|known| known.rule != line.rule) {
                rules.push(line);
            }
        }
        rules
    }

    /// The cells of the table, without the last column, which has no width.
    fn row(&self, first: &str, cell: impl Fn(&Report) -> String) -> Vec<String> {
        let cells = self.reports.iter().map(cell);
        std::iter::once(first.to_owned()).chain(cells).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules();
        let head = self.row("rule", |report| report.program.clone());
        let word = |report: &Report, rule| {
            let line = report.line(rule);
            line.map_or("-", |line| line.outcome.word()).to_owned()
        };
        let body = rules
            .iter()
            .map(|line| self.row(line.rule, |report| word(report, line.rule)));
        let rows: Vec<_> = std::iter::once(head).chain(body).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..=self.reports.len()).filter_map(width).collect();
        let musts = std::iter::once("what must hold").chain(rules.iter().map(|line| line.must));
        for (row, must) in rows.iter().zip(musts) {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "{cell:width$}  ")?;
            }
            writeln!(f, "{must}")?;
        }
        let mut blank = "\n";
        for line in &rules {
            for report in &self.reports {
                let outcome = report.line(line.rule).map(|line| &line.outcome);
                if let Some((outcome, why)) = outcome.and_then(|it| Some((it, it.why()?))) {
                    let (rule, program, word) = (line.rule, &report.program, outcome.word());
                    writeln!(f, "{blank}{rule}, {program}: {word}: {why}")?;
                    blank = "";
                }
            }
        }
        Ok(())
    }
}
