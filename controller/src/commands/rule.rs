//! `controller rule`

use std::{fs, io::Read as _, path::Path};

use tombolo_proto::{
    api::{AccessRule, AccessRules},
    rules::{Action, Rule},
};

use super::{Client, Failure, Output, client::network_path, table::Table};
use crate::cli::RuleVerb;

pub(super) fn run(verb: &RuleVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    let path = |network: &str| -> Result<String, Failure> {
        Ok(format!(
            "{}/rules",
            network_path(client.network(network)?.id)
        ))
    };
    match verb {
        RuleVerb::Ls { network } => {
            out.object(&client.get(&path(network)?)?, lines);
        }
        RuleVerb::Set { network, file } => {
            let rules = parse(&read(file)?)
                .map_err(|fault| Failure::Usage(format!("{} is wrong: {fault}", file.display())))?;
            out.object(&client.put(&path(network)?, &rules)?, lines);
        }
        RuleVerb::Add { network, at, rule } => {
            let rule = line(&rule.join(" ")).map_err(Failure::Usage)?;
            change(client, &path(network)?, out, |rules| {
                let place = at.map_or(rules.rules.len(), |at| at.saturating_sub(1));
                if place > rules.rules.len() {
                    return Err(no_such(rules));
                }
                rules.rules.insert(place, rule.clone());
                Ok(())
            })?;
        }
        RuleVerb::Rm { network, number } => {
            change(client, &path(network)?, out, |rules| {
                let place = number.checked_sub(1).filter(|at| *at < rules.rules.len());
                rules.rules.remove(place.ok_or_else(|| no_such(rules))?);
                Ok(())
            })?;
        }
        RuleVerb::Default { network, action } => {
            let action: Action = action
                .parse()
                .map_err(|_| Failure::Usage("the default is `allow` or `deny`".to_owned()))?;
            change(client, &path(network)?, out, |rules| {
                rules.default = action;
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Reads, changes and writes, unless somebody else wrote meanwhile.
fn change(
    client: &Client,
    path: &str,
    out: &Output,
    act: impl Fn(&mut AccessRules) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut rules, tag) = client.get_tagged::<AccessRules>(path)?;
    act(&mut rules)?;
    out.object(&client.put_if(path, &rules, &tag)?, lines);
    Ok(())
}

fn no_such(rules: &AccessRules) -> Failure {
    Failure::Other(format!(
        "there are {} rules: `tombolo-controller rule ls NETWORK` shows their numbers",
        rules.rules.len()
    ))
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    read.map_err(|cause| Failure::Usage(format!("cannot read {}: {cause}", file.display())))
}

/// A rule a line; `default allow` or `default deny`; the rest of a line behind `#` is for people.
pub(super) fn parse(text: &str) -> Result<AccessRules, String> {
    let mut rules = AccessRules {
        default: Action::Allow,
        rules: Vec::new(),
    };
    for (number, written) in (1..).zip(text.lines()) {
        let meant = written.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = meant.split_whitespace().collect();
        let at_line = |fault: String| format!("line {number}: {fault}");
        match words[..] {
            [] => {}
            ["default", action] => {
                rules.default = action
                    .parse()
                    .map_err(|_| at_line("the default is `allow` or `deny`".to_owned()))?;
            }
            _ => rules.rules.push(line(meant).map_err(at_line)?),
        }
    }
    Ok(rules)
}

/// One rule as people write it.
pub(super) fn line(text: &str) -> Result<AccessRule, String> {
    let rule: Rule<String> = text.parse().map_err(|fault| format!("{fault}"))?;
    Ok(AccessRule::from(&rule))
}

/// One rule as people read it.
pub(super) fn text(rule: &AccessRule) -> String {
    // A controller answers with rules only.
    Rule::try_from(rule).map_or_else(|_| format!("{rule:?}"), |rule| rule.to_string())
}

fn lines(rules: &AccessRules) -> String {
    let numbered = (1..).zip(&rules.rules);
    let table = Table::new(
        ["NUMBER", "RULE"],
        numbered.map(|(number, rule): (u32, _)| [number.to_string(), text(rule)]),
    );
    format!("{table}\ndefault {}", rules.default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_rules_has_a_rule_a_line_and_words_for_people() {
        let text = "# who may log in\nallow tcp 22 from tag:admin # them\n\n  default deny\n";
        let rules = parse(text).expect("a file of rules");
        assert_eq!(rules.default, Action::Deny);
        let read: Vec<String> = rules.rules.iter().map(super::text).collect();
        assert_eq!(read, ["allow tcp 22 from tag:admin to any"]);

        let wrong = parse("allow tcp 22\nallow tpc 23\n").expect_err("no protocol");
        assert!(wrong.starts_with("line 2: \"tpc\" is neither"), "{wrong}");
        assert!(parse("default maybe").is_err());
    }
}
