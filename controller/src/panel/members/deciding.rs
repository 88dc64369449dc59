//! Letting members in, putting them out, removing them.

use axum::{extract::Path, response::Response};
use tombolo_proto::api::{Member, MemberPatch};

use super::{MAX_AT_ONCE, path};
use crate::{
    api::Problem,
    panel::{
        layout, network,
        undo::{Done, Undo},
        visit::{Action, SignedIn},
    },
};

/// Lets one in or puts one out.
pub(in crate::panel) async fn decide(
    Path((id, node)): Path<(String, String)>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let authorized = fields.get("authorized") == "true";
    let on_own_page = fields.get("back") == "member";
    let done = set(&by, &id, &node, authorized).await.map(|member| {
        let (node, authorized) = (member.node, !authorized);
        let undo = id.parse().map(|network| match on_own_page {
            true => Undo::AuthorizedOne {
                network,
                node,
                authorized,
            },
            false => Undo::Authorized {
                network,
                nodes: vec![node],
                authorized,
            },
        });
        Done {
            text: told(&by, &member),
            undo: undo.ok(),
        }
    });
    match done {
        Ok(done) if on_own_page => Ok(layout::go(&by, &path(&id, &node), done)),
        done => network::after(&by, &id, done).await,
    }
}

async fn set(by: &SignedIn, id: &str, node: &str, authorized: bool) -> Result<Member, Problem> {
    let patch = MemberPatch {
        authorized: Some(authorized),
        ..MemberPatch::default()
    };
    by.api.patch(&path(id, node), &patch).await
}

fn told(by: &SignedIn, member: &Member) -> String {
    let texts = by.visitor.texts();
    let told = if member.authorized {
        texts.authorized_done
    } else {
        texts.deauthorized_done
    };
    told(&member.name)
}

/// Lets many in or puts them out. Stops at the first that does not work, which is told.
pub(in crate::panel) async fn decide_many(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let texts = by.visitor.texts();
    let authorized = fields.get("authorized") == "true";
    let nodes: Vec<&str> = fields.all("node").take(MAX_AT_ONCE).collect();
    let done = async {
        if nodes.is_empty() {
            return Err(Problem::invalid(texts.nothing_selected));
        }
        let mut changed = Vec::new();
        for node in &nodes {
            let before: Member = by.api.get(&path(&id, node)).await?;
            set(&by, &id, node, authorized).await?;
            if before.authorized != authorized {
                changed.push(before.node);
            }
        }
        let told = if authorized {
            texts.authorized_many
        } else {
            texts.deauthorized_many
        };
        // Those that were so before stay so.
        let undo = id.parse().ok().filter(|_| !changed.is_empty());
        Ok(Done {
            text: told(nodes.len()),
            undo: undo.map(|network| Undo::Authorized {
                network,
                nodes: changed,
                authorized: !authorized,
            }),
        })
    };
    network::after(&by, &id, done.await).await
}

/// Deletes a member.
pub(in crate::panel) async fn remove(
    Path((id, node)): Path<(String, String)>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let done = async {
        let at = path(&id, &node);
        let member: Member = by.api.get(&at).await?;
        by.api.delete(&at).await?;
        Ok((by.visitor.texts().member_removed)(&member.name))
    };
    network::after(&by, &id, done.await).await
}
