//! Letting members in, putting them out, removing them.

use axum::{extract::Path, response::Response};
use tombolo_proto::api::{Member, MemberPatch};

use super::{MAX_AT_ONCE, path};
use crate::{
    api::Problem,
    panel::{
        layout, network,
        visit::{Action, SignedIn},
    },
};

/// Lets one in or puts one out.
pub(in crate::panel) async fn decide(
    Path((id, node)): Path<(String, String)>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let authorized = fields.get("authorized") == "true";
    match set(&by, &id, &node, authorized).await {
        Ok(done) if fields.get("back") == "member" => Ok(layout::go(&by, &path(&id, &node), done)),
        done => network::after(&by, &id, done).await,
    }
}

async fn set(by: &SignedIn, id: &str, node: &str, authorized: bool) -> Result<String, Problem> {
    let texts = by.visitor.texts();
    let patch = MemberPatch {
        authorized: Some(authorized),
        ..MemberPatch::default()
    };
    let member: Member = by.api.patch(&path(id, node), &patch).await?;
    let told = if authorized {
        texts.authorized_done
    } else {
        texts.deauthorized_done
    };
    Ok(told(&member.name))
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
        for node in &nodes {
            set(&by, &id, node, authorized).await?;
        }
        let told = if authorized {
            texts.authorized_many
        } else {
            texts.deauthorized_many
        };
        Ok(told(nodes.len()))
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
