//! The planner against made-up hosts: no Docker, no firewall, no clock.

mod creation;
mod firewall;
mod guards;
mod scene;
