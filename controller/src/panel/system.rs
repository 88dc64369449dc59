//! The controller itself: its replicas, its keyring, its store.

use std::time::SystemTime;

use axum::{http::StatusCode, response::Response};
use maud::{Markup, html};
use tombolo_proto::api::{Keyring, Replica, ReplicaState, Role, Status};

use super::{figures, layout, visit::SignedIn};

const DAY_SECONDS: u64 = 86_400;
/// A backup that is older is marked: who makes one every week has missed one.
const OLD_SECONDS: u64 = 7 * DAY_SECONDS;
/// A passphrase of 192 random bits, in a file that root alone reads.
const MAKE_PASSPHRASE: &str =
    "(umask 077; head -c 24 /dev/urandom | base64 > /root/tombolo.passphrase)";
const BACK_UP: &str =
    "tombolo-controller backup --passphrase-file /root/tombolo.passphrase /root/tombolo.backup";
const RESTORE: &str =
    "tombolo-controller restore --passphrase-file /root/tombolo.passphrase /root/tombolo.backup";

/// The page.
pub(super) async fn show(by: SignedIn) -> Result<Response, Response> {
    let told = layout::told(&by);
    let status: Status = by.api.get("/status").await.map_err(told)?;
    let keyring: Keyring = by.api.get("/keyring").await.map_err(told)?;
    let texts = &by.visitor.texts().system;
    let content = html! {
        div.head { h1 { (texts.system) } }
        div.columns {
            (controller(&by, &status))
            section.card aria-labelledby="backup" data-part="backup" {
                h2 #backup { (texts.backup) }
                (last_backup(&by, &status))
                p.soft { (texts.backup_lead) }
                p.soft { (texts.backup_passphrase) }
                (layout::copyable(&by.visitor, "passphrase-command", MAKE_PASSPHRASE))
                (layout::copyable(&by.visitor, "backup-command", BACK_UP))
                (layout::copyable(&by.visitor, "restore-command", RESTORE))
            }
        }
        section.card aria-labelledby="replicas" data-part="replicas" {
            h2 #replicas { (texts.replicas) }
            p.soft { (texts.replicas_lead) }
            p { ((texts.epoch)(keyring.epoch, keyring.revision)) }
            table.stacked.plain {
                thead { tr {
                    th scope="col" { (texts.replica) }
                    th scope="col" { (by.visitor.texts().status) }
                    th scope="col" { (by.visitor.texts().version) }
                    th scope="col" { (by.visitor.texts().addresses) }
                    th scope="col" { (texts.command) }
                } }
                tbody { @for replica in &keyring.replicas { (row(&by, replica)) } }
            }
        }
    };
    Ok(layout::page(
        &by,
        StatusCode::OK,
        texts.system,
        None,
        &content,
    ))
}

fn controller(by: &SignedIn, status: &Status) -> Markup {
    let texts = &by.visitor.texts().system;
    html! {
        section.card aria-labelledby="controller" data-part="controller" {
            h2 #controller { (texts.controller) }
            dl.facts {
                dt { (by.visitor.texts().version) } dd { (status.version) }
                dt { (texts.uptime) } dd { ((texts.seconds)(status.uptime)) }
                dt { (texts.store) } dd {
                    @match status.store.as_str() { "sqlite" => "SQLite ", "postgres" => "PostgreSQL ", _ => "" }
                    @match status.store_unreachable_seconds {
                        None => span.state.on { (texts.store_ok) },
                        Some(seconds) => span.state.wait { ((texts.store_away)(seconds)) },
                    }
                }
                dt { (texts.connected) } dd { (status.connected_nodes) }
                dt { (texts.networks) } dd { (status.networks) }
                dt { (texts.endpoints) } dd { @for endpoint in &status.endpoints { code { (endpoint) } " " } }
                dt { (texts.authority) } dd { code { (status.authority) } }
                dt { (texts.authority_key) } dd { code { (status.authority_key) } }
            }
        }
    }
}

/// When the last backup was made, and whether that is long ago.
fn last_backup(by: &SignedIn, status: &Status) -> Markup {
    let texts = &by.visitor.texts().system;
    let Some(backup) = &status.last_backup else {
        return html! {
            p { (texts.last_backup) ": "
                @if status.store_unreachable_seconds.is_some() { (texts.unknown) } @else { span.state.wait { (texts.no_backup) } }
            }
        };
    };
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let age = now.as_secs().saturating_sub(backup.made_at);
    html! {
        dl.facts {
            dt { (texts.last_backup) } dd {
                (layout::moment(backup.made_at)) " "
                @if age > OLD_SECONDS { span.state.wait { ((texts.old_backup)(age / DAY_SECONDS)) } }
                @else { span.state.on { (texts.fresh_backup) } }
            }
            dt { (texts.made_by) } dd { code { (backup.made_by) } }
            dt { (texts.secrecy) } dd {
                @if backup.encrypted { span.state.on { (texts.encrypted) } }
                @else { span.state.wait { (texts.not_encrypted) } " " small { (texts.not_encrypted_means) } }
            }
            dt { (texts.root_key) } dd { @if backup.root_key { (texts.root_key_inside) } @else { (texts.root_key_elsewhere) } }
            dt { (texts.size) } dd { (figures::amount(backup.bytes)) }
        }
    }
}

fn row(by: &SignedIn, replica: &Replica) -> Markup {
    let all = by.visitor.texts();
    let texts = &all.system;
    let key = replica.key.to_string();
    let short: String = key.chars().take(12).collect();
    let may_change = by.api.caller().rights.everywhere >= Role::Admin;
    let (class, state, verb) = match replica.state {
        ReplicaState::Admitted => ("state on", texts.admitted, Some(("revoke", texts.revoke))),
        ReplicaState::Pending => ("state wait", texts.pending, Some(("add", texts.admit))),
        ReplicaState::Revoked => ("state", texts.revoked, None),
    };
    html! {
        tr {
            td { code title=(key) { (short) "…" } @if replica.this { " " span.tag { (texts.this) } } }
            td data-label=(all.status) {
                span class=(class) { (state) } " "
                @if replica.state != ReplicaState::Revoked {
                    @if replica.alive { span.state.on { (texts.alive) } } @else { span.state.wait { (texts.silent) } }
                }
            }
            td data-label=(all.version) { (replica.version) }
            td data-label=(all.addresses) { @for endpoint in &replica.endpoints { code { (endpoint) } } }
            td data-label=(texts.command) {
                @if let Some((verb, named)) = verb && may_change {
                    @let id = format!("{verb}-{short}");
                    details {
                        summary { span aria-hidden="true" { (verb) } span.hidden { ((named)(&short)) } }
                        (layout::copyable(&by.visitor, &id, &format!("tombolo-controller keyring {verb} {key}")))
                    }
                }
            }
        }
    }
}
