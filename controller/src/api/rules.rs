//! `/api/v1/networks/{id}/rules`

use axum::{extract::State, response::Response};
use tombolo_domain::{command::Command, network::Network, refusal::Refusal, rules};
use tombolo_proto::{
    api::{AccessRule, AccessRules},
    rules::Rule,
};

use super::{
    ApiState, Problem,
    etag::{self, IfMatch},
    extract::{Json, Params},
    views,
};
use crate::{
    auth::{Admin, Reader},
    networks::Wish,
};

/// Shows the access rules.
#[utoipa::path(get, operation_id = "show_rules", path = "/api/v1/networks/{id}/rules", tag = "rules",
    params(("id" = String, Path)), responses((status = 200, body = AccessRules)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
) -> Result<Response, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let body = view(&loaded.network);
    Ok(etag::tagged(&etag::of(&body), &body))
}

/// Replaces the access rules. They count at once, also for connections that are open.
#[utoipa::path(put, operation_id = "replace_rules", path = "/api/v1/networks/{id}/rules", tag = "rules",
    params(("id" = String, Path)), request_body = AccessRules, responses((status = 200, body = AccessRules)))]
pub(super) async fn replace(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(id): Params<String>,
    if_match: IfMatch,
    Json(wanted): Json<AccessRules>,
) -> Result<Response, Problem> {
    let id = views::network_id(&id)?;
    let written = wanted.rules.iter().zip(1..).map(|(rule, number)| {
        Rule::try_from(rule).map_err(|fault| Refusal::Rule {
            number,
            text: format!("{} {:.80}", rule.action, rule.protocol),
            fault: fault.into(),
        })
    });
    let written: Vec<Rule<String>> = written.collect::<Result<_, _>>()?;
    let subject = format!("{} rules, default {}", written.len(), wanted.default);
    let wish = Wish::new(&actor, "rules.update", subject);
    let after = state
        .networks
        .change(id, wish, |network, _| {
            if_match.check(&view(network))?;
            Ok(Command::SetRules {
                default: wanted.default,
                rules: written.clone(),
            })
        })
        .await?;
    let body = view(&after);
    Ok(etag::tagged(&etag::of(&body), &body))
}

fn view(network: &Network) -> AccessRules {
    AccessRules {
        default: network.settings().rules.default,
        rules: rules::written(network)
            .iter()
            .map(AccessRule::from)
            .collect(),
    }
}
