//! The rules of a controller, tried out as values.

mod allocator;
mod commands;
mod members;
mod pacing;
mod routes;
mod rules;
mod scene;
