//! The list of networks, and how one is made.

use axum::{extract::Query, http::StatusCode, response::Response};
use maud::{Markup, html};
use serde::Deserialize;
use tombolo_proto::api::{Network, NetworkSettings, NetworkSummary, NewNetwork, Page, Role};

use super::{
    figures,
    layout::{self, Notice},
    ranges,
    visit::{Action, Fields, SignedIn},
};
use crate::api::Problem;

/// Cards on a page.
const PAGE: u32 = 60;
/// A range that few have at home.
const SUGGESTED_RANGE: &str = "172.27.0.0/16";

/// Which page of the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    after: String,
}

impl Place {
    /// What the page comes after.
    pub(super) fn after(&self) -> &str {
        &self.after
    }

    /// The same as a part of a query of the API.
    pub(super) fn query(&self) -> String {
        match self.after.as_str() {
            "" => String::new(),
            after => format!("&after={}", layout::encoded(after)),
        }
    }
}

/// The list.
pub(super) async fn list(by: SignedIn, Query(place): Query<Place>) -> Result<Response, Response> {
    shown(&by, StatusCode::OK, None, &place, &Fields::default()).await
}

/// Makes a network and goes to its page.
pub(super) async fn create(Action { by, fields }: Action) -> Result<Response, Response> {
    let new = NewNetwork {
        name: fields.get("name").trim().to_owned(),
        v4: fields.filled("v4"),
        settings: NetworkSettings::default(),
    };
    let created: Result<Network, Problem> = by.api.post("/networks", &new).await;
    match created {
        Ok(network) => {
            let done = (by.visitor.texts().network_created)(&network.name);
            Ok(layout::go(&by, &format!("/networks/{}", network.id), done))
        }
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            shown(
                &by,
                problem.status(),
                Some(&notice),
                &Place::default(),
                &fields,
            )
            .await
        }
    }
}

async fn shown(
    by: &SignedIn,
    status: StatusCode,
    notice: Option<&Notice>,
    place: &Place,
    fields: &Fields,
) -> Result<Response, Response> {
    let texts = by.visitor.texts();
    let (cards, next) = cards(by, place).await.map_err(layout::told(by))?;
    let may_create = by.api.caller().rights.everywhere >= Role::Admin;
    let content = html! {
        div.head { h1 { (texts.networks) } }
        section data-part="networks" data-links="10" {
            @if cards.is_empty() && may_create {
                div.card {
                    h2 { (texts.no_networks) }
                    p { (texts.no_networks_lead) }
                    ol.steps {
                        li { code { "systemctl enable --now tombolo" } }
                        li { code { "tombolo join tombolo://…" } " " small { "(" (texts.join_hint) ")" } }
                    }
                }
            } @else if cards.is_empty() {
                p { (texts.no_networks_for_you) }
            } @else {
                ul.cards {
                    @for (network, summary) in &cards { li { (card(by, network, summary)) } }
                }
                @if let Some(next) = next {
                    p { a.button.quiet href={ "/?after=" (layout::encoded(&next)) } rel="next" { (texts.next_page) } }
                }
            }
        }
        @if may_create {
            section.card aria-labelledby="new-network" {
                h2 #new-network { (texts.new_network) }
                form.row method="post" action="/networks" data-plain {
                    (layout::csrf(by))
                    div.field {
                        label for="name" { (texts.name) }
                        input #name name="name" maxlength="63" value=(fields.get("name")) autocomplete="off" required;
                    }
                    div.field {
                        label for="v4" { (texts.v4_range) }
                        input #v4 name="v4" list="ranges" value=(fields.filled("v4").as_deref().unwrap_or(SUGGESTED_RANGE)) autocomplete="off" aria-describedby="v4-hint";
                    }
                    button type="submit" { (texts.create_network) }
                }
                small #v4-hint { (texts.v4_range_hint) }
                datalist #ranges { @for range in ranges::SUGGESTED { option value=(range) {} } }
            }
        }
    };
    Ok(layout::page(by, status, texts.networks, notice, &content))
}

/// The networks of a page, and where the next one begins.
async fn cards(
    by: &SignedIn,
    place: &Place,
) -> Result<(Vec<(Network, NetworkSummary)>, Option<String>), Problem> {
    if by.api.caller().rights.anywhere() == Role::None {
        return Ok((Vec::new(), None));
    }
    let page: Page<Network> = by
        .api
        .get(&format!("/networks?limit={PAGE}{}", place.query()))
        .await?;
    let mut cards = Vec::new();
    for network in page.items {
        let summary = by
            .api
            .get(&format!("/networks/{}/summary", network.id))
            .await?;
        cards.push((network, summary));
    }
    Ok((cards, page.next))
}

fn card(by: &SignedIn, network: &Network, summary: &NetworkSummary) -> Markup {
    let texts = by.visitor.texts();
    html! {
        a.card href={ "/networks/" (network.id) } {
            h2 { (network.name) }
            p { code { (network.id) } }
            (counts(by, summary))
            @if summary.waiting > 0 { " " span.state.wait { ((texts.waiting_count)(summary.waiting)) } }
            p.soft { ((texts.map.traffic)(&figures::rate(summary.sent), &figures::rate(summary.received))) }
        }
    }
}

/// How many are online.
pub(super) fn counts(by: &SignedIn, summary: &NetworkSummary) -> Markup {
    let text = (by.visitor.texts().summary)(summary.online, summary.members);
    html! { span.state.on[summary.online > 0] { (text) } }
}
