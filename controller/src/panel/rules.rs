//! Access rules: the part of the network's page, and what can be done to them.

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use tombolo_domain::refusal::Refusal;
use tombolo_proto::{
    api::{AccessRule, AccessRules, Network, Role},
    rules::{Action as Verdict, Rule, RuleError},
};

use super::{
    layout, network,
    undo::{Done, Undo},
    visit::{Action, SignedIn},
};
use crate::api::Problem;

/// The part of the network's page.
pub(super) fn section(by: &SignedIn, network: &Network, rules: &AccessRules) -> Markup {
    let texts = by.visitor.texts();
    let may_change = network::role(by, network.id) >= Role::Admin;
    let at = format!("{}/rules", network::path(&network.id.to_string()));
    html! {
        section.card aria-labelledby="rules" {
            h2 #rules { (texts.access_rules) }
            p.soft { (texts.access_rules_lead) }
            div.scroll {
                table.stacked.plain {
                    thead { tr {
                        th scope="col" { (texts.rule_number) }
                        th scope="col" { (texts.rule) }
                        @if may_change { th scope="col" { (texts.actions) } }
                    } }
                    tbody data-part="rules" {
                        @for (number, rule) in (1..).zip(&rules.rules) {
                            (row(by, &at, (number, rules.rules.len()), rule, may_change))
                        }
                        tr #rule-default {
                            td data-label=(texts.rule_number) {}
                            td data-label=(texts.rule) { (texts.rule_default) " " (verdict(by, rules.default)) }
                            @if may_change {
                                td {
                                    form method="post" action={ (at) "/default" } {
                                        (layout::csrf(by))
                                        @let other = opposite(rules.default);
                                        input type="hidden" name="action" value=(other);
                                        button.small.quiet type="submit" {
                                            (match other {
                                                Verdict::Allow => texts.allow_by_default,
                                                Verdict::Deny => texts.deny_by_default,
                                            })
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if may_change {
                form.row method="post" action=(at) {
                    (layout::csrf(by))
                    div.field {
                        label for="rule" { (texts.rule) }
                        input #rule name="rule" placeholder="allow tcp 22,443 from tag:admin to member:nas"
                            autocomplete="off" aria-describedby="rule-hint" required;
                    }
                    div.field.short {
                        label for="rule-at" { (texts.rule_place) }
                        input #rule-at name="at" inputmode="numeric" value=(rules.rules.len() + 1) required;
                    }
                    button type="submit" { (texts.add_rule) }
                    small #rule-hint { (texts.rule_hint) }
                }
            }
        }
    }
}

fn row(
    by: &SignedIn,
    at: &str,
    (number, last): (usize, usize),
    rule: &AccessRule,
    may_change: bool,
) -> Markup {
    let texts = by.visitor.texts();
    let text = written(rule);
    let act = |verb: &str, label: String, mark: &str, is_possible: bool| {
        html! {
            form method="post" action={ (at) "/" (number) "/" (verb) } {
                (layout::csrf(by))
                input type="hidden" name="rule" value=(text);
                button.quiet.small type="submit" aria-label=(label) disabled[!is_possible] { (mark) }
            } " "
        }
    };
    html! {
        tr id={ "rule-" (number) } {
            td data-label=(texts.rule_number) { (number) }
            td data-label=(texts.rule) { code { (text) } }
            @if may_change {
                td {
                    (act("up", (texts.move_rule_up)(number), "↑", number > 1))
                    (act("down", (texts.move_rule_down)(number), "↓", number < last))
                    (act("remove", (texts.remove_rule)(number), texts.remove, true))
                }
            }
        }
    }
}

fn verdict(by: &SignedIn, action: Verdict) -> Markup {
    let texts = by.visitor.texts();
    let (class, text) = match action {
        Verdict::Allow => ("state on", texts.rule_allow),
        Verdict::Deny => ("state wait", texts.rule_deny),
    };
    html! { span class=(class) { (text) } }
}

const fn opposite(action: Verdict) -> Verdict {
    match action {
        Verdict::Allow => Verdict::Deny,
        Verdict::Deny => Verdict::Allow,
    }
}

fn written(rule: &AccessRule) -> String {
    Rule::try_from(rule).map_or_else(|_| rule.action.to_string(), |rule| rule.to_string())
}

/// Adds a rule.
pub(super) async fn add(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = async {
        let place: usize = network::number(&by, &fields, "at", by.visitor.texts().rule_place)?;
        let text = fields.get("rule").trim();
        let rule: Rule<String> = text.parse().map_err(|fault: RuleError| Refusal::Rule {
            number: place,
            text: text.chars().take(80).collect(),
            fault: fault.into(),
        })?;
        change(&by, &id, |rules| {
            let place = place.saturating_sub(1).min(rules.rules.len());
            rules.rules.insert(place, AccessRule::from(&rule));
            true
        })
        .await
    };
    network::after(&by, &id, done.await).await
}

/// Removes a rule.
pub(super) async fn remove(
    Path((id, number)): Path<(String, usize)>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let rule = fields.get("rule");
    let removed = change(&by, &id, |rules| {
        let found = place(rules, number, rule);
        found.map(|place| rules.rules.remove(place)).is_some()
    });
    let done = removed.await.map(|text| Done {
        text,
        undo: id.parse().ok().map(|network| Undo::Rule {
            network,
            number,
            rule: rule.to_owned(),
        }),
    });
    network::after(&by, &id, done).await
}

/// Lets a rule be tried earlier.
pub(super) async fn up(
    Path((id, number)): Path<(String, usize)>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = change(&by, &id, |rules| {
        let found = place(rules, number, fields.get("rule")).filter(|place| *place > 0);
        found
            .map(|place| rules.rules.swap(place - 1, place))
            .is_some()
    });
    network::after(&by, &id, done.await).await
}

/// Lets a rule be tried later.
pub(super) async fn down(
    Path((id, number)): Path<(String, usize)>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = change(&by, &id, |rules| {
        let last = rules.rules.len().saturating_sub(1);
        let found = place(rules, number, fields.get("rule")).filter(|place| *place < last);
        found
            .map(|place| rules.rules.swap(place, place + 1))
            .is_some()
    });
    network::after(&by, &id, done.await).await
}

/// Decides what becomes of what no rule matches.
pub(super) async fn set_default(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = async {
        let action = fields.get("action").parse();
        let action = action.map_err(|fault: RuleError| Problem::bad_request(fault.to_string()))?;
        change(&by, &id, |rules| {
            rules.default = action;
            true
        })
        .await
    };
    network::after(&by, &id, done.await).await
}

/// Reads the rules, changes and writes them. Whoever pressed a button saw a list: if it is another one now, nothing happens.
async fn change(
    by: &SignedIn,
    id: &str,
    act: impl FnOnce(&mut AccessRules) -> bool,
) -> Result<String, Problem> {
    let texts = by.visitor.texts();
    let path = format!("{}/rules", network::path(id));
    let mut rules: AccessRules = by.api.get(&path).await?;
    if !act(&mut rules) {
        return Err(Problem::invalid(texts.rules_changed));
    }
    let _: AccessRules = by.api.put(&path, &rules).await?;
    Ok(texts.saved.to_owned())
}

/// Where the rule of this number is, from 0, if it still reads like this.
fn place(rules: &AccessRules, number: usize, text: &str) -> Option<usize> {
    let place = number.checked_sub(1)?;
    (written(rules.rules.get(place)?) == text).then_some(place)
}
