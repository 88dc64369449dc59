//! What `iptables-save` says.

use ipnet::IpNet;

use crate::firewall::Rule;

/// The two programs, one per family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// `iptables`
    V4,
    /// `ip6tables`
    V6,
}

impl Backend {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    pub(crate) const fn has(self, prefix: &IpNet) -> bool {
        matches!(
            (self, prefix),
            (Self::V4, IpNet::V4(_)) | (Self::V6, IpNet::V6(_))
        )
    }
}

/// The tables that have rules of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// What may pass.
    Filter,
    /// Before everything else.
    Raw,
}

impl Table {
    /// As the programs call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Raw => "raw",
        }
    }
}

/// The rules of one family as `iptables-save` or `ip6tables-save` printed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    backend: Backend,
    drops_forwarded: bool,
    rules: Vec<Rule>,
}

impl Saved {
    /// Reads what was printed; tables without rules of ours are left out.
    #[must_use]
    pub fn parse(backend: Backend, text: &str) -> Self {
        let mut saved = Self {
            backend,
            drops_forwarded: false,
            rules: Vec::new(),
        };
        let mut table = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = [Table::Filter, Table::Raw]
                    .into_iter()
                    .find(|table| table.as_str() == name.trim());
            } else if let Some(table) = table {
                saved.read(table, line);
            }
        }
        saved
    }

    fn read(&mut self, table: Table, line: &str) {
        if let Some(chain) = line.strip_prefix(':') {
            let mut fields = chain.split_whitespace();
            let (name, policy) = (fields.next().unwrap_or_default(), fields.next());
            self.drops_forwarded |=
                table == Table::Filter && name == "FORWARD" && policy == Some("DROP");
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let mut words = words(rule).into_iter();
            let Some(chain) = words.next() else { return };
            self.rules.push(Rule {
                backend: self.backend,
                table,
                chain,
                words: words.collect(),
            });
        }
    }

    /// Whether packets that are only passing come through a chain.
    pub(crate) fn forwards_to(&self, chain: &str) -> bool {
        let jump = ["-j", chain];
        self.rules.iter().any(|rule| {
            rule.table == Table::Filter && rule.chain == "FORWARD" && rule.words == jump
        })
    }

    pub(crate) const fn drops_forwarded(&self) -> bool {
        self.drops_forwarded
    }

    /// Rules with a comment that starts with `mark`, and whether a rule that drops stands before them in the raw table:
    /// there, nothing but Docker's guards does, and what comes after them is never reached.
    pub fn marked(&self, mark: &str) -> impl Iterator<Item = (Rule, bool)> {
        let first_drop = self.rules.iter().position(|rule| {
            rule.table == Table::Raw && rule.words.ends_with(&["-j".to_owned(), "DROP".to_owned()])
        });
        self.rules
            .iter()
            .enumerate()
            .filter(move |(_, rule)| has_mark(rule, mark))
            .map(move |(at, rule)| {
                let is_hidden =
                    rule.table == Table::Raw && first_drop.is_some_and(|drop| drop < at);
                (rule.clone(), is_hidden)
            })
    }
}

fn has_mark(rule: &Rule, mark: &str) -> bool {
    rule.words
        .windows(2)
        .any(|pair| pair[0] == "--comment" && pair[1].starts_with(mark))
}

/// Splits at blanks, except within double quotes; quotes go, a backslash takes the next character as it is.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(letters.next()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}
