//! The main job: real kubectl → the gateway, as its own program → a real API server.
//!
//! Every row runs as a person who is not an admin and holds cluster-member or cluster-viewer by a
//! binding. Each test ends by holding all that was done against the API server's audit log, which says
//! what the gateway really sent ([`world::World::check_audit`]).

mod acting;
mod audit;
mod discovery;
mod emulated;
mod hosts;
mod objects;
mod policy_folder;
mod recorded;
mod refused;
mod reload;
mod streams;
mod tokens;
mod world;
