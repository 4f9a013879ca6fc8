//! What came of checking the rules.

use std::fmt;

/// Which rules a subject keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name of the subject.
    pub subject: String,
    /// One for each rule, in the order of the rules.
    pub findings: Vec<Finding>,
}

/// What came of checking one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the rule.
    pub rule: &'static str,
    /// The verdict.
    pub verdict: Verdict,
}

/// Whether a rule is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept, as far as the check can tell.
    Held,
    /// It is not, for this reason.
    Broken(String),
    /// It cannot be asked of the subject, for this reason.
    NotApplicable(String),
}

impl Report {
    /// The rules that are not kept, with reasons.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.findings
            .iter()
            .filter_map(|finding| match &finding.verdict {
                Verdict::Broken(why) => Some((finding.rule, why.as_str())),
                Verdict::Held | Verdict::NotApplicable(_) => None,
            })
    }

    /// Displays a table of rules by subjects, with the reasons of all that is not held below it.
    pub fn table(reports: &[Self]) -> impl fmt::Display {
        Table(reports)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::table(std::slice::from_ref(self)).fmt(f)
    }
}

struct Table<'a>(&'a [Report]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let names = first.findings.iter().map(|finding| finding.rule.len());
        let width = names.max().unwrap_or_default();
        write!(f, "{:width$}", "")?;
        for report in self.0 {
            write!(f, "  {:>8}", report.subject)?;
        }
        writeln!(f)?;
        let mut reasons = Vec::new();
        for (row, finding) in first.findings.iter().enumerate() {
            write!(f, "{:width$}", finding.rule)?;
            for report in self.0 {
                let column = report.subject.len().max(8);
                let verdict = report.findings.get(row).map(|finding| &finding.verdict);
                let (word, why) = match verdict {
                    Some(Verdict::Held) => ("held", None),
                    Some(Verdict::Broken(why)) => ("BROKEN", Some(why)),
                    Some(Verdict::NotApplicable(why)) => ("n/a", Some(why)),
                    None => ("", None),
                };
                write!(f, "  {word:>column$}")?;
                reasons.extend(why.map(|why| (word, finding.rule, &report.subject, why)));
            }
            writeln!(f)?;
        }
        for (word, rule, subject, why) in reasons {
            writeln!(f, "{word}: {rule} on {subject}: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_column_for_each_subject_and_all_reasons() {
        let report = |subject: &str, verdict| Report {
            subject: subject.into(),
            findings: vec![
                Finding {
                    rule: "timer_wakes",
                    verdict: Verdict::Held,
                },
                Finding {
                    rule: "tasks_run",
                    verdict,
                },
            ],
        };
        let reports = [
            report("tokio", Verdict::Broken("it never ran".into())),
            report("current-thread", Verdict::NotApplicable("no tasks".into())),
        ];
        assert_eq!(
            Report::table(&reports).to_string(),
            "                tokio  current-thread\n\
             timer_wakes      held            held\n\
             tasks_run      BROKEN             n/a\n\
             BROKEN: tasks_run on tokio: it never ran\n\
             n/a: tasks_run on current-thread: no tasks\n"
        );
        let broken: Vec<_> = reports[0].broken().collect();
        assert_eq!(broken, [("tasks_run", "it never ran")]);
        assert_eq!(reports[1].broken().count(), 0);
    }
}
