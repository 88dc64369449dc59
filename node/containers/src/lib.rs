//! Container networks in the overlay: which ones are published, what the firewall must let through, and why not.
//!
//! A container network is an ordinary Docker bridge network. It is in the overlay if Tombolo made it, if it carries the
//! label [`labels::NETWORK`], or if `node docker publish` named it. For each of these
//!
//! 1. its subnets are routed to this member: by the controller, except for what lies in the member's own /80;
//! 2. forwarding between overlay and bridge is let through, and nothing else: Docker's own rules and policies stay;
//! 3. containers keep their own addresses towards the overlay, and are masqueraded towards everything else;
//! 4. neighbours on the LAN who send to its subnets are refused, published ports apart.
//!
//! [`plan()`] looks at a [`Situation`] and says all of it as values. The shell observes and applies, at start, on every
//! event of Docker's, and again and again: a daemon killed at any moment is put right by the next look.
//!
//! | module | what it decides |
//! |---|---|
//! | [`situation`] | what is observed |
//! | [`guard`] | which networks cannot be in the overlay, and the sentence that says why and what to do |
//! | [`mod@plan`] | which networks are in it, with which routes |
//! | [`create`] | what `node docker create` asks of Docker |
//! | [`firewall`], [`ruleset`], [`nft`] | which rules there must be, which there are, the steps between |

pub mod create;
pub mod firewall;
pub mod guard;
pub mod labels;
pub mod nft;
pub mod plan;
pub mod ruleset;
pub mod situation;

pub use guard::Refusal;
pub use plan::{Entry, Plan, plan};
pub use situation::Situation;
