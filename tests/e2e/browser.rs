//! The pages in a real Chromium, and logins with a real OpenID provider. See browser/README.md.

mod attacks;
mod driver;
mod flows;
mod issuer;
mod node;
mod pages;
mod pictures;
mod sings;
mod terminal;
mod world;
