//! A write under construction: what is wrong with it so far, and the transaction that it will be.

use super::error::{ApiError, Mistake, ObjectRef};
use super::select::{is_label_key, is_label_value};
use crate::objects::{Kind, Meta, Stored};
use crate::store::{Compare, KeyValue, Revision, Txn};

/// Compares of one transaction that references may use up; the rest is for the objects themselves. A
/// reference past it is not guarded against a removal in the same instant, and counts as nobody then.
const MAX_REFERENCES: usize = 96;
/// Most labels of an object: labels select, they do not hold data.
const MAX_LABELS: usize = 64;
/// Bytes of all annotations together (upstream allows 256 KiB in objects of 1.5 MiB).
const MAX_ANNOTATIONS: usize = 64 * 1024;
/// Longest free text that is for people to read.
const MAX_TEXT: usize = 1024;

/// A write under construction.
#[derive(Default)]
pub(super) struct Draft {
    mistakes: Vec<Mistake>,
    /// What is written if nothing is wrong.
    pub(super) txn: Txn,
}

impl Draft {
    /// Notes a wrong field; all of them are told at once.
    pub(super) fn wrong(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Notes a wrong field if `result` says so.
    pub(super) fn check<E: std::fmt::Display>(
        &mut self,
        field: &str,
        value: &str,
        result: Result<(), E>,
    ) {
        if let Err(error) = result {
            self.wrong(Mistake::invalid(field, value, error));
        }
    }

    /// The write holds only while `found` is as it was read: what a reference was resolved to.
    pub(super) fn refers_to(&mut self, found: &KeyValue) {
        let known = self.txn.compares.iter().any(|c| c.key == found.key);
        if !known && self.txn.compares.len() < MAX_REFERENCES {
            self.when(&found.key, found.mod_revision);
        }
    }

    /// The write holds only while `found` is as it was read, because it proves a right: never left out, whatever the
    /// number. The store refuses a write with too many.
    pub(super) fn prove(&mut self, found: &KeyValue) {
        self.prove_key(&found.key, found.mod_revision);
    }

    /// The same for all that another draft was to be compared with.
    pub(super) fn prove_as(&mut self, other: &Self) {
        for compare in &other.txn.compares {
            self.prove_key(&compare.key, compare.mod_revision);
        }
    }

    fn prove_key(&mut self, key: &str, revision: Revision) {
        // A key that is compared with another revision already makes the transaction fail, as it must.
        let known = |c: &Compare| c.key == key && c.mod_revision == revision;
        if !self.txn.compares.iter().any(known) {
            self.when(key, revision);
        }
    }

    /// Adds a compare.
    pub(super) fn when(&mut self, key: &str, revision: Revision) {
        self.txn = std::mem::take(&mut self.txn).when(key, revision);
    }

    /// Adds the write of an object that is as `revision` left it (0: not there).
    pub(super) fn put<K: Kind>(&mut self, stored: &Stored<K>, revision: Revision) {
        let key = K::key(&stored.object.meta().name);
        let txn = std::mem::take(&mut self.txn).when(key.clone(), revision);
        self.txn = txn.put(key, stored.encode());
    }

    /// Adds a write of plain bytes under a key that is as `revision` left it.
    pub(super) fn put_raw(&mut self, key: &str, value: Vec<u8>, revision: Revision) {
        let txn = std::mem::take(&mut self.txn).when(key, revision);
        self.txn = txn.put(key, value);
    }

    /// Adds a write of plain bytes, whatever is under the key; once, however often it is said.
    pub(super) fn put_over(&mut self, key: &str, value: Vec<u8>) {
        if !self.txn.ops.iter().any(|op| op.key() == key) {
            self.txn = std::mem::take(&mut self.txn).put(key, value);
        }
    }

    /// Adds the removal of whatever is under a key.
    pub(super) fn delete_over(&mut self, key: &str) {
        self.txn = std::mem::take(&mut self.txn).delete(key);
    }

    /// Adds the removal of a key that is as `revision` left it.
    pub(super) fn delete(&mut self, key: &str, revision: Revision) {
        let txn = std::mem::take(&mut self.txn).when(key, revision);
        self.txn = txn.delete(key);
    }

    /// The transaction, if nothing is wrong.
    pub(super) fn finish<K: Kind>(self, name: &str) -> Result<Txn, ApiError> {
        if self.mistakes.is_empty() {
            Ok(self.txn)
        } else {
            Err(ApiError::Invalid(ObjectRef::of::<K>(name), self.mistakes))
        }
    }

    /// Checks what a client writes into `metadata`.
    pub(super) fn check_meta(&mut self, meta: &Meta) {
        if meta.labels.len() > MAX_LABELS {
            self.wrong(Mistake::too_many(
                "metadata.labels",
                meta.labels.len(),
                MAX_LABELS,
            ));
        }
        self.check_labels("metadata.labels", &meta.labels);
        for key in meta.annotations.keys().filter(|k| !is_label_key(k)) {
            self.wrong(Mistake::invalid("metadata.annotations", key, LABEL_KEY));
        }
        let bytes: usize = meta
            .annotations
            .iter()
            .map(|(k, v)| k.len() + v.len())
            .sum();
        if bytes > MAX_ANNOTATIONS {
            let detail = format!("must be at most {MAX_ANNOTATIONS} bytes together");
            self.wrong(Mistake::invalid(
                "metadata.annotations",
                &format!("{bytes} bytes"),
                detail,
            ));
        }
    }

    /// Checks labels, or what labels are selected by.
    pub(super) fn check_labels(
        &mut self,
        field: &str,
        labels: &std::collections::BTreeMap<String, String>,
    ) {
        for (key, value) in labels {
            if !is_label_key(key) {
                self.wrong(Mistake::invalid(field, key, LABEL_KEY));
            }
            if key.starts_with("palisade.dev/") {
                self.wrong(Mistake::forbidden(
                    format!("{field}[{key}]"),
                    "labels under palisade.dev/ are the gateway's own",
                ));
            }
            if !is_label_value(value) {
                self.wrong(Mistake::invalid(
                    format!("{field}[{key}]"),
                    value,
                    "must be empty, or at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
                ));
            }
        }
    }

    /// Checks a text that people read: bounded, and no control bytes, which terminals would obey.
    pub(super) fn check_text(&mut self, field: &str, text: &str) {
        if text.len() > MAX_TEXT {
            let detail = format!("must be at most {MAX_TEXT} bytes");
            self.wrong(Mistake::invalid(
                field,
                &format!("{} bytes", text.len()),
                detail,
            ));
        }
        if text.chars().any(char::is_control) {
            self.wrong(Mistake::invalid(
                field,
                text,
                "must not hold control characters",
            ));
        }
    }

    /// Notes that a field differs from what it must stay.
    pub(super) fn same<T: PartialEq>(&mut self, field: &str, old: &T, new: &T) {
        if old != new {
            self.wrong(Mistake::forbidden(field, "the field is immutable"));
        }
    }
}

const LABEL_KEY: &str = "must be [prefix/]name: the prefix a DNS subdomain, the name at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
