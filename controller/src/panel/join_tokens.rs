//! Join tokens: the part of the network's page, and what can be done with them.

use axum::{extract::Path, http::StatusCode, response::Response};
use maud::{Markup, html};
use tombolo_proto::{
    api::{CreatedToken, JoinToken, NewJoinToken, Role},
    id::NetworkId,
};

use super::{
    layout::{self, Notice},
    members::Filter,
    network,
    visit::{Action, Fields, SignedIn},
};
use crate::api::Problem;

const HOUR: u64 = 3600;

/// The part of the network's page.
pub(super) fn section(by: &SignedIn, id: NetworkId, tokens: &[JoinToken]) -> Markup {
    let texts = by.visitor.texts();
    let may_decide = network::role(by, id) >= Role::Operator;
    let at = format!("{}/join-tokens", network::path(&id.to_string()));
    html! {
        section.card aria-labelledby="join-tokens" {
            h2 #join-tokens { (texts.join_tokens) }
            p.soft { (texts.join_tokens_lead) }
            div.scroll data-part="join-tokens" {
                @if tokens.is_empty() { p.soft { (texts.no_tokens) } } @else {
                    table.stacked.plain {
                        thead { tr {
                            th scope="col" { "ID" }
                            th scope="col" { (texts.uses_left) }
                            th scope="col" { (texts.expires) }
                            @if may_decide { th scope="col" { (texts.actions) } }
                        } }
                        tbody {
                            @for token in tokens {
                                tr {
                                    td data-label="ID" { code { (token.id) } }
                                    td data-label=(texts.uses_left) { (token.uses_left) }
                                    td data-label=(texts.expires) { (layout::moment(token.expires_at)) }
                                    @if may_decide {
                                        td {
                                            (layout::ask(by, &format!("{at}/{}/remove", token.id), texts.remove, &(texts.remove_token)(&token.id)))
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if may_decide {
                form.row method="post" action=(at) {
                    (layout::csrf(by))
                    div.field.short {
                        label for="uses" { (texts.uses) }
                        input #uses name="uses" inputmode="numeric" value="1" required;
                    }
                    div.field.short {
                        label for="hours" { (texts.valid_hours) }
                        input #hours name="hours" inputmode="numeric" value="1" required;
                    }
                    button type="submit" { (texts.create_token) }
                }
            }
        }
    }
}

/// Makes a token. It is shown on the page that answers, and never again.
pub(super) async fn create(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let texts = by.visitor.texts();
    let created: Result<CreatedToken, Problem> = match wanted(&by, &fields) {
        Ok(new) => {
            by.api
                .post(&format!("{}/join-tokens", network::path(&id)), &new)
                .await
        }
        Err(problem) => Err(problem),
    };
    match created {
        Ok(token) => {
            let link = token.join_link.unwrap_or(token.token);
            let notice = Notice::Secret {
                text: texts.token_created,
                secret: format!("tombolo join {link}"),
            };
            let filter = Filter::default();
            network::shown(&by, &id, StatusCode::CREATED, Some(&notice), &filter).await
        }
        Err(problem) => network::failed(&by, &id, &problem).await,
    }
}

fn wanted(by: &SignedIn, fields: &Fields) -> Result<NewJoinToken, Problem> {
    let texts = by.visitor.texts();
    let hours: u64 = network::number(by, fields, "hours", texts.valid_hours)?;
    Ok(NewJoinToken {
        uses: Some(network::number(by, fields, "uses", texts.uses)?),
        expires_in: Some(hours.saturating_mul(HOUR)),
    })
}

/// Deletes a token.
pub(super) async fn remove(
    Path((id, token)): Path<(String, String)>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let path = format!(
        "{}/join-tokens/{}",
        network::path(&id),
        layout::encoded(&token)
    );
    let done = by.api.delete(&path).await;
    let done = done.map(|()| by.visitor.texts().token_removed.to_owned());
    network::after(&by, &id, done).await
}
