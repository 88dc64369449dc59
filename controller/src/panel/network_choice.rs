//! Networks by name, where something is for one of them or for all.

use maud::{Markup, html};
use tombolo_proto::{
    api::{Network, Page},
    id::NetworkId,
};

use super::visit::SignedIn;
use crate::api::Problem;

/// Networks that are offered; whoever has more uses the API.
const MOST: u32 = 200;

/// The networks that somebody may see.
#[derive(Debug)]
pub(super) struct Networks(Vec<Network>);

impl Networks {
    pub(super) async fn of(by: &SignedIn) -> Result<Self, Problem> {
        let page: Page<Network> = by.api.get(&format!("/networks?limit={MOST}")).await?;
        Ok(Self(page.items))
    }

    /// What a network is called; its id if it is gone or there are too many.
    pub(super) fn name(&self, id: NetworkId) -> String {
        let found = self.0.iter().find(|network| network.id == id);
        found.map_or_else(|| id.to_string(), |network| network.name.clone())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter()
    }

    /// A field to choose one, or all.
    pub(super) fn choice(&self, id: &str, all: &str, chosen: &str) -> Markup {
        html! {
            select id=(id) name=(id) {
                option value="" { (all) }
                @for network in &self.0 {
                    @let value = network.id.to_string();
                    option value=(value) selected[value == chosen] { (network.name) }
                }
            }
        }
    }
}
