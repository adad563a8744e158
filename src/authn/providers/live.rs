//! The providers that the configuration names now.

use super::{Ids, Rules, github::Github, ldap, oidc::Oidc, redirect};
use crate::{authn::Index, config};
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// A provider.
pub struct Provider {
    /// Its name.
    pub name: Box<str>,
    /// What the configuration says of it.
    pub config: config::Provider,
    /// What is behind it.
    pub source: Source,
}

/// What is behind a provider.
#[derive(Clone)]
pub enum Source {
    /// A directory, which is told passwords.
    Ldap(Arc<ldap::Directory>),
    /// GitHub, to which browsers are sent.
    Github(Arc<Github>),
    /// An OpenID provider, to which browsers are sent.
    Oidc(Arc<Oidc>),
}

impl Provider {
    /// One that nobody has dialled yet.
    pub fn new(name: &str, config: &config::Provider) -> Self {
        Self {
            name: name.into(),
            config: config.clone(),
            source: Source::new(&config.source),
        }
    }

    /// The directory behind it, if it is one.
    pub fn directory(&self) -> Option<&Arc<ldap::Directory>> {
        match &self.source {
            Source::Ldap(directory) => Some(directory),
            Source::Github(_) | Source::Oidc(_) => None,
        }
    }

    /// Where what an account is read again with may count once, and another take its place with each answer: how long
    /// one reading may take, during which nobody else may begin another.
    pub(super) fn asks_alone(&self) -> Option<Duration> {
        match &self.source {
            Source::Oidc(oidc) => Some(oidc.longest()),
            Source::Ldap(_) | Source::Github(_) => None,
        }
    }

    /// How old the names of groups may be.
    pub fn names_life(&self) -> Duration {
        names_life(self.config.refresh_interval)
    }

    /// The handle of a new user whose account is called so.
    pub fn handle(&self, name: &str) -> String {
        if self.config.primary {
            name.to_owned()
        } else {
            format!("{}:{name}", self.name)
        }
    }
}

impl Source {
    fn new(config: &config::Source) -> Self {
        match config {
            config::Source::Ldap(ldap) => Self::Ldap(Arc::new(ldap::Directory::new(ldap.clone()))),
            config::Source::Github(github) => Self::Github(Arc::new(Github::new(github.clone()))),
            config::Source::Oidc(oidc) => Self::Oidc(Arc::new(Oidc::new(oidc.clone()))),
        }
    }
}

/// Reads the files that one provider names.
pub fn check_files_of(source: &config::Source) -> Result<(), String> {
    match source {
        config::Source::Ldap(ldap) => {
            ldap::Directory::check_files(ldap).map_err(|failure| failure.chain())
        }
        config::Source::Github(github) => {
            redirect::check_files(&github.link, &github.client).map_err(|failure| failure.chain())
        }
        config::Source::Oidc(oidc) => {
            redirect::check_files(&oidc.link, &oidc.client).map_err(|failure| failure.chain())
        }
    }
}

/// Part of the interval in which accounts are read again, for which names of groups are kept.
const NAMES: u32 = 10;

/// How old the names of groups may be which accounts are read with: what is read in time must not say what was true
/// before the interval.
pub(super) fn names_life(interval: Duration) -> Duration {
    interval / NAMES
}

/// Reads the files that providers name; on failure a line for each that cannot be used. Those of a disabled one are
/// not looked at.
pub fn check_files(all: &config::Providers) -> Result<(), Vec<String>> {
    let enabled = all.iter().filter(|(_, config)| !config.disabled);
    let lines = enabled.filter_map(|(name, config)| {
        let kind = config.source.kind();
        check_files_of(&config.source)
            .err()
            .map(|failure| format!("providers.{name}.{kind}: {failure}"))
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { Ok(()) } else { Err(lines) }
}

/// By name.
pub type Live = BTreeMap<Box<str>, Arc<Provider>>;

/// The providers that are there and not disabled.
pub struct Providers {
    live: ArcSwap<Live>,
    index: Arc<Index>,
}

impl Providers {
    /// None yet; sessions of all of them are refused.
    pub fn new(index: Arc<Index>) -> Self {
        Self {
            live: ArcSwap::default(),
            index,
        }
    }

    /// From now on these are there. What did not change keeps its connections; sessions of a provider that is gone
    /// are refused from this moment on, and so is who is not listed any more.
    pub fn replace(&self, all: &config::Providers) {
        let enabled = || all.iter().filter(|(_, config)| !config.disabled);
        let rules: HashMap<Box<str>, Arc<Rules>> = enabled()
            .map(|(name, config)| {
                let rules = Rules {
                    access: config.access.clone(),
                    ids: Ids::of(&config.source),
                    interval: config.refresh_interval,
                    max_age: config.refresh_max_age,
                    by_grant: match config.source {
                        config::Source::Ldap(_) => false,
                        config::Source::Github(_) | config::Source::Oidc(_) => true,
                    },
                };
                (name.as_str().into(), Arc::new(rules))
            })
            .collect();
        self.index.set_providers(&rules);
        let before = self.live.load();
        let live = enabled().map(|(name, config)| {
            let known = before.get(name.as_str());
            let provider = match known.filter(|known| known.config.source == config.source) {
                Some(known) => Provider {
                    name: name.as_str().into(),
                    config: config.clone(),
                    source: known.source.clone(),
                },
                None => Provider::new(name, config),
            };
            (name.as_str().into(), Arc::new(provider))
        });
        self.live.store(Arc::new(live.collect()));
    }

    /// The provider of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Provider>> {
        self.live.load().get(name).cloned()
    }

    /// All of them, in the order of their names.
    pub fn all(&self) -> Arc<Live> {
        self.live.load_full()
    }
}
