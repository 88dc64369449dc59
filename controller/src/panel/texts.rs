//! Every text of the panel, in every language. A text that lacks a translation is a compile error.

use std::collections::BTreeMap;

mod en;
mod refusals;
mod topics;
mod zh;

pub(super) use topics::{Access, Account, Audit, Map, Relays, SignOn, System, Webhooks};

/// A language of the panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Chinese,
}

impl Language {
    /// Every language, the default first.
    const ALL: [Self; 2] = [Self::English, Self::Chinese];

    pub(super) const fn texts(self) -> &'static Texts {
        match self {
            Self::English => &en::TEXTS,
            Self::Chinese => &zh::TEXTS,
        }
    }

    /// A problem in this language, by its code; none if there is nothing better than what the API says.
    pub(super) fn problem(self, code: &str, values: &BTreeMap<String, String>) -> Option<String> {
        match self {
            Self::English => None,
            Self::Chinese => refusals::chinese(code, values),
        }
    }

    /// Its name in HTML and cookies (BCP 47).
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    pub(super) fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The one to switch to.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::English => Self::Chinese,
            Self::Chinese => Self::English,
        }
    }

    /// The best one for an `Accept-Language` header (RFC 9110 section 12.5.4).
    pub(super) fn accepted(header: &str) -> Self {
        let weighed = header.split(',').filter_map(|range| {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let primary = tag.trim().split('-').next()?.to_ascii_lowercase();
            let language = Self::from_tag(&primary)?;
            let weight = parameters.trim().strip_prefix("q=").unwrap_or("1");
            let weight: f32 = weight.parse().unwrap_or_default();
            (weight > 0.0).then_some((language, weight))
        });
        // The first of the best.
        weighed
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .map_or(Self::English, |(language, _)| language)
    }
}

/// The texts of one language.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) access: Access,
    pub(super) account: Account,
    pub(super) audit: Audit,
    pub(super) map: Map,
    pub(super) relays: Relays,
    pub(super) sign_on: SignOn,
    pub(super) system: System,
    pub(super) webhooks: Webhooks,
    pub(super) switch_language: &'static str,
    pub(super) skip: &'static str,
    pub(super) networks: &'static str,
    pub(super) sign_in: &'static str,
    pub(super) sign_out: &'static str,
    pub(super) signed_in_as: &'static str,
    pub(super) user_name: &'static str,
    pub(super) password: &'static str,
    pub(super) password_again: &'static str,
    pub(super) password_rule: &'static str,
    pub(super) passwords_differ: &'static str,
    pub(super) set_up: &'static str,
    pub(super) set_up_lead: &'static str,
    pub(super) create_admin: &'static str,
    pub(super) setup_link_spent: &'static str,
    pub(super) no_user_yet: &'static str,
    pub(super) problem: &'static str,
    pub(super) back: &'static str,
    pub(super) stale: &'static str,
    pub(super) no_networks: &'static str,
    pub(super) no_networks_lead: &'static str,
    pub(super) no_networks_for_you: &'static str,
    pub(super) join_hint: &'static str,
    pub(super) create_network: &'static str,
    pub(super) new_network: &'static str,
    pub(super) name: &'static str,
    pub(super) v4_range: &'static str,
    pub(super) v4_range_hint: &'static str,
    pub(super) members: &'static str,
    pub(super) online: &'static str,
    pub(super) offline: &'static str,
    pub(super) waiting: &'static str,
    pub(super) summary: fn(u64, u64) -> String,
    pub(super) waiting_count: fn(u64) -> String,
    pub(super) network_id: &'static str,
    pub(super) add_server: &'static str,
    pub(super) add_server_lead: &'static str,
    pub(super) copy: &'static str,
    pub(super) copied: &'static str,
    pub(super) qr_label: &'static str,
    pub(super) show_qr: &'static str,
    pub(super) authorized: &'static str,
    pub(super) addresses: &'static str,
    pub(super) prefix: &'static str,
    pub(super) tags: &'static str,
    pub(super) version: &'static str,
    pub(super) last_seen: &'static str,
    pub(super) never: &'static str,
    pub(super) now: &'static str,
    pub(super) status: &'static str,
    pub(super) select: fn(&str) -> String,
    pub(super) filter: &'static str,
    pub(super) search: &'static str,
    pub(super) search_hint: &'static str,
    pub(super) all: &'static str,
    pub(super) not_authorized: &'static str,
    pub(super) authorize_selected: &'static str,
    pub(super) deauthorize_selected: &'static str,
    pub(super) nothing_selected: &'static str,
    pub(super) next_page: &'static str,
    pub(super) first_page: &'static str,
    pub(super) no_members: &'static str,
    pub(super) no_match: &'static str,
    pub(super) member: &'static str,
    pub(super) node: &'static str,
    pub(super) v4_addresses: &'static str,
    pub(super) v4_addresses_hint: &'static str,
    pub(super) tags_hint: &'static str,
    pub(super) relay: &'static str,
    pub(super) save: &'static str,
    pub(super) saved: &'static str,
    pub(super) undo: &'static str,
    pub(super) remove: &'static str,
    pub(super) remove_member: &'static str,
    pub(super) remove_member_lead: &'static str,
    pub(super) clashes: &'static str,
    pub(super) authorized_done: fn(&str) -> String,
    pub(super) deauthorized_done: fn(&str) -> String,
    pub(super) authorized_many: fn(usize) -> String,
    pub(super) deauthorized_many: fn(usize) -> String,
    pub(super) member_removed: fn(&str) -> String,
    pub(super) network_created: fn(&str) -> String,
    pub(super) network_removed: fn(&str) -> String,
    pub(super) managed_routes: &'static str,
    pub(super) managed_routes_lead: &'static str,
    pub(super) target: &'static str,
    pub(super) via: &'static str,
    pub(super) via_hint: &'static str,
    pub(super) add_route: &'static str,
    pub(super) approve: &'static str,
    pub(super) route_active: &'static str,
    pub(super) default_route: &'static str,
    pub(super) route_pending: &'static str,
    pub(super) route_suspended: &'static str,
    pub(super) actions: &'static str,
    pub(super) route_added: fn(&str) -> String,
    pub(super) route_normalized: fn(&str, &str) -> String,
    pub(super) route_approved: fn(&str) -> String,
    pub(super) route_removed: &'static str,
    pub(super) remove_route: fn(&str) -> String,
    pub(super) approve_route: fn(&str) -> String,
    pub(super) failover: &'static str,
    pub(super) access_rules: &'static str,
    pub(super) access_rules_lead: &'static str,
    pub(super) rule: &'static str,
    pub(super) rule_number: &'static str,
    pub(super) rule_place: &'static str,
    pub(super) rule_hint: &'static str,
    pub(super) rule_default: &'static str,
    pub(super) rule_allow: &'static str,
    pub(super) rule_deny: &'static str,
    pub(super) allow_by_default: &'static str,
    pub(super) deny_by_default: &'static str,
    pub(super) add_rule: &'static str,
    pub(super) rules_changed: &'static str,
    pub(super) unruled: &'static str,
    pub(super) unruled_hint: &'static str,
    pub(super) remove_rule: fn(usize) -> String,
    pub(super) move_rule_up: fn(usize) -> String,
    pub(super) move_rule_down: fn(usize) -> String,
    pub(super) join_tokens: &'static str,
    pub(super) join_tokens_lead: &'static str,
    pub(super) uses: &'static str,
    pub(super) uses_left: &'static str,
    pub(super) valid_hours: &'static str,
    pub(super) expires: &'static str,
    pub(super) create_token: &'static str,
    pub(super) token_created: &'static str,
    pub(super) token_removed: &'static str,
    pub(super) no_tokens: &'static str,
    pub(super) remove_token: fn(&str) -> String,
    pub(super) settings: &'static str,
    pub(super) mtu: &'static str,
    pub(super) v4_pools: &'static str,
    pub(super) v4_pools_hint: &'static str,
    pub(super) subnet_pools: &'static str,
    pub(super) subnet_pools_hint: &'static str,
    pub(super) private: &'static str,
    pub(super) v6_6plane: &'static str,
    pub(super) v6_rfc4193: &'static str,
    pub(super) member_routes: &'static str,
    pub(super) member_routes_approve: &'static str,
    pub(super) member_routes_auto: &'static str,
    pub(super) member_routes_off: &'static str,
    pub(super) remove_network: &'static str,
    pub(super) remove_network_lead: &'static str,
    pub(super) not_a_number: fn(&str) -> String,
    pub(super) not_a_range: fn(&str) -> String,
    pub(super) not_an_address: fn(&str) -> String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_that_the_browser_wants_most() {
        for (header, language) in [
            ("", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("fr-FR, zh;q=0.5, en;q=0.7", Language::English),
            ("fr", Language::English),
            ("zh;q=0, en;q=0.1", Language::English),
            ("zh;q=nonsense", Language::English),
        ] {
            assert_eq!(Language::accepted(header), language, "{header:?}");
        }
    }
}
