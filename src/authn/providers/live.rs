//! The providers that the configuration names now.

use super::{Rules, ldap};
use crate::{authn::Index, config};
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A provider.
pub struct Provider {
    /// Its name.
    pub name: Box<str>,
    /// What the configuration says of it.
    pub config: config::Provider,
    /// The directory behind it.
    pub directory: Arc<ldap::Directory>,
}

impl Provider {
    /// One that nobody has dialled yet.
    pub fn new(name: &str, config: &config::Provider) -> Self {
        Self {
            name: name.into(),
            config: config.clone(),
            directory: Arc::new(ldap::Directory::new(config.ldap.clone())),
        }
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

/// Reads the files that providers name; on failure a line for each that cannot be used. Those of a disabled one are
/// not looked at.
pub fn check_files(all: &config::Providers) -> Result<(), Vec<String>> {
    let enabled = all.iter().filter(|(_, config)| !config.disabled);
    let lines = enabled.filter_map(|(name, config)| {
        let checked = ldap::Directory::check_files(&config.ldap);
        checked
            .err()
            .map(|failure| format!("providers.{name}.ldap: {failure}"))
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
                    interval: config.refresh_interval,
                    max_age: config.refresh_max_age,
                };
                (name.as_str().into(), Arc::new(rules))
            })
            .collect();
        self.index.set_providers(&rules);
        let before = self.live.load();
        let live = enabled().map(|(name, config)| {
            let known = before.get(name.as_str());
            let provider = match known.filter(|known| known.config.ldap == config.ldap) {
                Some(known) => Provider {
                    name: name.as_str().into(),
                    config: config.clone(),
                    directory: Arc::clone(&known.directory),
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
