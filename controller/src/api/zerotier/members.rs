//! `/controller/network/{nwid}/member`

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use tombolo_domain::{
    command::Command,
    network::{Found, Network},
    refusal::Refusal,
};
use tombolo_proto::id::{NetworkId, NodeId};

use super::{
    super::{
        ApiState, Problem,
        etag::{self, IfMatch},
        extract::Params,
        members::{check_node, with_reports},
        once::{Answer, Once},
        views,
    },
    loose::Fields,
    shape, wanted,
};
use crate::{
    auth::{Operator, Reader},
    networks::{ChangeError, Wish},
};

/// Lists members and waiting nodes with their revisions.
#[utoipa::path(get, operation_id = "zerotier_list_members", path = "/controller/network/{nwid}/member", tag = "zerotier", params(("nwid" = String, Path)),
    responses((status = 200, body = BTreeMap<String, u64>)))]
pub(in super::super) async fn list(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
) -> Result<axum::Json<BTreeMap<String, u64>>, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let waiting = loaded
        .network
        .requests()
        .map(|request| (request.node.to_string(), 0));
    let members = loaded
        .network
        .members()
        .map(|member| (member.node.to_string(), member.serial.0));
    Ok(axum::Json(waiting.chain(members).collect()))
}

/// Shows a member or a waiting node.
#[utoipa::path(get, operation_id = "zerotier_show_member", path = "/controller/network/{nwid}/member/{node}", tag = "zerotier",
    params(("nwid" = String, Path), ("node" = String, Path)), responses((status = 200, body = shape::MemberShape)))]
pub(in super::super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
    Params((id, node)): Params<(String, String)>,
) -> Result<Response, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    answer(&state, &loaded.network, check_node(&node)?).await
}

/// Authorises, deauthorises or changes a member. A node that has not asked to join cannot be authorised.
#[utoipa::path(post, operation_id = "zerotier_update_member", path = "/controller/network/{nwid}/member/{node}", tag = "zerotier",
    params(("nwid" = String, Path), ("node" = String, Path)),
    request_body(content = Option<Object>, description = "Fields of a member. Those that are not sent stay as they are; unknown ones are passed over."),
    responses((status = 200, body = shape::MemberShape)))]
pub(in super::super) async fn update(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    once: Once,
    Params((id, node)): Params<(String, String)>,
    if_match: IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    let (id, node) = (views::network_id(&id)?, check_node(&node)?);
    let loaded = state.networks.get(id).await?;
    let Some(found) = loaded.network.by_node(node) else {
        return stranger(id, node, &fields);
    };
    let action = match wanted::member(&loaded.network, found, &fields)?.authorized {
        Some(true) => "member.authorize",
        Some(false) => "member.deauthorize",
        None => "member.update",
    };
    let kept = |after: &Network| {
        let found = after.by_node(node)?;
        once.keep(&Answer::done(&shape::member(after, found)))
    };
    let wish = Wish::new(&actor, action, node.to_string()).answering(&kept);
    let after = state
        .networks
        .change(id, wish, |network, _| {
            let found = find(network, node)?;
            if_match.check(&shape::member(network, found))?;
            Ok(Command::UpdateMember {
                identity: found.identity(),
                patch: wanted::member(network, found, &fields)?,
            })
        })
        .await?;
    answer(&state, &after, node).await
}

/// Deletes a member or a waiting node, and shows what it was.
#[utoipa::path(delete, operation_id = "zerotier_delete_member", path = "/controller/network/{nwid}/member/{node}", tag = "zerotier",
    params(("nwid" = String, Path), ("node" = String, Path)), responses((status = 200, body = shape::MemberShape)))]
pub(in super::super) async fn remove(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    Params((id, node)): Params<(String, String)>,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let (id, node) = (views::network_id(&id)?, check_node(&node)?);
    let loaded = state.networks.get(id).await?;
    let gone = answer(&state, &loaded.network, node).await?;
    let wish = Wish::new(&actor, "member.delete", node.to_string());
    state
        .networks
        .change(id, wish, |network, _| {
            let found = find(network, node)?;
            if_match.check(&shape::member(network, found))?;
            Ok(Command::RemoveMember(found.identity()))
        })
        .await?;
    Ok(gone)
}

/// A node that has not asked to join. Panels reset members after deleting them, which asks for what is so already; whatever
/// else is said of it would have to be kept for a node of which only forty bits are known.
fn stranger(id: NetworkId, node: NodeId, fields: &Fields) -> Result<Response, Problem> {
    let asks = fields.flag("authorized") == Some(true)
        || fields.text("name").is_some()
        || fields
            .list("ipAssignments")
            .is_some_and(|sent| !sent.is_empty());
    if asks {
        return Err(Problem::not_found(format!(
            "{node} has not asked to join: run `tombolo join {id}` there first, or hand out a join token, which authorises by itself"
        )));
    }
    let body = shape::unknown(id, node);
    Ok(etag::tagged(&etag::of(&body), &body))
}

fn find(network: &Network, node: NodeId) -> Result<Found<'_>, ChangeError> {
    Ok(network.by_node(node).ok_or(Refusal::UnknownMember)?)
}

/// A member with its tag, and the version that its node reports.
async fn answer(state: &ApiState, network: &Network, node: NodeId) -> Result<Response, Problem> {
    let found = find(network, node)?;
    let body = shape::member(network, found);
    let tag = etag::of(&body);
    let reported = with_reports(state, network.id(), vec![views::member(network, found)]).await?;
    let body = match reported.first() {
        Some(member) => body.reporting(member),
        None => body,
    };
    Ok(etag::tagged(&tag, &body))
}
