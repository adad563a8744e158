//! What the API asks of a kind, and the operations that are the same for each: get, create, update, delete.

use super::access::{self, Operation};
use super::cascade::{APPLY_WAIT, Hands};
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::query::DryRun;
use super::settle;
use super::table::Column;
use super::{Api, Caller, Reach};
use super::{body, decode};
use crate::objects::{Kind, NameError, Stored, check_label, tombstones};
use crate::status::clock;
use crate::store::{KeyValue, Revision, StoreError, Txn};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// How often a write is tried anew because something that it refers to was changed in between. A client's
/// own stale resourceVersion is never retried.
pub(super) const ATTEMPTS: usize = 4;

/// One kind behind the API.
pub(super) trait Resource: Kind {
    /// Columns of the table that kubectl prints.
    const COLUMNS: &'static [Column];
    /// Other objects name this kind by name and not by uid: nothing may be left that names a name when it is
    /// given (again).
    const NAMED_BY_NAME: bool = false;

    /// Paths that a field selector may name beside `metadata.name`.
    const FIELDS: &'static [&'static str] = &[];

    /// The value of one of [`Self::FIELDS`], as text.
    fn field(&self, _path: &str) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    /// The cells of an object's row.
    fn cells(&self, now: Timestamp) -> Vec<Value>;

    /// Which names there may be.
    fn check_name(name: &str) -> Result<(), NameError> {
        check_label(name)
    }

    /// Whether the object is the caller's own: what [`Reach::Own`] is about.
    fn is_own(&self, _api: &Api, _caller: &Caller) -> bool {
        false
    }

    /// Makes the object fit to be shown: fills what only this replica knows, and leaves out what is not
    /// for this caller.
    fn show(&mut self, _api: &Api, _caller: &Caller) {}

    /// Names of the caller's own objects, where the index knows them.
    fn own_names(_api: &Api, _caller: &Caller) -> Option<Vec<String>> {
        None
    }

    /// The object of this name, if it is there without being in the store.
    fn fixed(_api: &Api, _name: &str) -> Option<Fixed<Self>> {
        None
    }

    /// Objects that are there without being in the store, in the order of their names.
    fn all_fixed(_api: &Api) -> Vec<Self> {
        Vec::new()
    }

    /// Checks a new object's fields and completes them; gives its private part.
    fn admit_new(
        &mut self,
        cx: &Context<'_>,
        draft: &mut Draft,
    ) -> impl Future<Output = Result<Self::Private, ApiError>> + Send;

    /// Checks a changed object's fields and completes them; gives its private part.
    fn admit_change(
        &mut self,
        cx: &Context<'_>,
        old: &Stored<Self>,
        draft: &mut Draft,
    ) -> impl Future<Output = Result<Self::Private, ApiError>> + Send;

    /// Checks whether the object may go, and adds what goes with it.
    fn admit_removal(
        &self,
        _cx: &Context<'_>,
        _draft: &mut Draft,
    ) -> impl Future<Output = Result<(), ApiError>> + Send {
        async { Ok(()) }
    }

    /// Removes what still hangs on an object that is not there (any more): what did not fit into the
    /// transaction of its removal, or was written between the look and the removal. Stops without an error
    /// when something has the name again. Also called before a name is given, so that nothing that was
    /// left of an older object of the name begins to count.
    fn sweep(&self, _hands: &Hands) -> impl Future<Output = Result<(), ApiError>> + Send {
        async { Ok(()) }
    }
}

/// An object that is there without being in the store. A stored one of its name does not count.
pub(super) enum Fixed<K> {
    /// It comes with the program.
    BuiltIn(K),
    /// It stands in the policy folder, there.
    Folder(K, String),
}

impl<K> Fixed<K> {
    pub(super) fn into_object(self) -> K {
        match self {
            Self::BuiltIn(object) | Self::Folder(object, _) => object,
        }
    }

    /// Why it can neither be changed nor given to another object. Reads on after "it".
    fn why(&self) -> String {
        match self {
            Self::BuiltIn(_) => "is built in".to_owned(),
            Self::Folder(_, place) => {
                format!("stands in the gateway's policy folder, at {place}: change it there")
            }
        }
    }
}

/// One request: the API and who asks it.
pub(super) struct Context<'a> {
    pub(super) api: &'a Api,
    pub(super) caller: &'a Caller,
    pub(super) dry_run: DryRun,
}

impl Context<'_> {
    /// Reads a stored object, with its key's revision.
    pub(super) async fn load<K: Kind>(
        &self,
        name: &str,
    ) -> Result<Option<(Stored<K>, KeyValue)>, ApiError> {
        let Some(found) = self.api.store.get(&K::key(name)).await? else {
            return Ok(None);
        };
        let stored = Stored::decode(&found.key, &found.value, found.mod_revision)?;
        Ok(Some((stored, found)))
    }

    /// The revision of a key, once the memory of this replica has seen it.
    pub(super) async fn caught_up(&self, key: &str) -> Result<Revision, ApiError> {
        let found = self.api.store.get(key).await?;
        let revision = found.map_or(0, |found| found.mod_revision);
        let seen = self.api.follower.wait_for(revision, APPLY_WAIT).await;
        seen.map(|()| revision).map_err(|_| ApiError::Behind)
    }

    /// With its removal an object leaves its uid where whoever names it by its name alone finds it: another one of that
    /// name is not this one.
    pub(super) async fn bury<K: Kind>(
        &self,
        object: &K,
        draft: &mut Draft,
    ) -> Result<(), ApiError> {
        let meta = object.meta();
        let grave = serde_json::json!({"schema": 1, "uid": meta.uid});
        let key = format!("{}{}", tombstones(K::PLURAL), meta.name);
        // There is one already if the name was given anew: a group's, or a user's by `admin init --reset`.
        let found = self.api.store.get(&key).await?;
        let revision = found.map_or(0, |found| found.mod_revision);
        draft.put_raw(&key, grave.to_string().into_bytes(), revision);
        Ok(())
    }

    /// Writes, and waits until this replica has seen it. A dry run writes nothing and has no revision; it
    /// is refused where the write would be.
    pub(super) async fn commit(&self, txn: Txn) -> Result<Option<Revision>, StoreError> {
        if self.dry_run == DryRun::Yes {
            return self.compare(txn).await.map(|()| None);
        }
        Hands::of(self.api).commit(txn).await.map(Some)
    }

    /// What a transaction would be refused for, one read after the other: a dry run promises nothing.
    async fn compare(&self, txn: Txn) -> Result<(), StoreError> {
        for compare in txn.compares {
            let found = self.api.store.get(&compare.key).await?;
            if found.map_or(0, |found| found.mod_revision) != compare.mod_revision {
                return Err(StoreError::Conflict { key: compare.key });
            }
        }
        Ok(())
    }

    /// Removes an object and then what still hangs on it, in a task of its own: a client that hangs up
    /// between the two leaves nothing behind.
    pub(super) async fn remove<K: Resource>(&self, txn: Txn, object: &K) -> Result<(), StoreError> {
        if self.dry_run == DryRun::Yes {
            return self.compare(txn).await;
        }
        let (hands, object) = (Hands::of(self.api), object.clone());
        let removal = self.api.tasks.spawn(async move {
            hands.commit(txn).await?;
            if let Err(error) = object.sweep(&hands).await {
                // The object is gone, and whatever takes its name sweeps again first.
                tracing::warn!(%error, kind = K::KIND, "leftovers of a removal stay");
            }
            Ok(())
        });
        // It ends early only with the process.
        removal.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Reads one object.
pub(super) async fn get<K: Resource>(cx: &Context<'_>, name: &str) -> Result<K, ApiError> {
    let found = match K::fixed(cx.api, name) {
        Some(fixed) => Some(fixed.into_object()),
        None => cx.load::<K>(name).await?.map(|(stored, _)| stored.object),
    };
    let (api, caller) = (cx.api, cx.caller);
    match found {
        Some(mut object) if caller.reach == Reach::All || object.is_own(api, caller) => {
            object.show(api, caller);
            Ok(object)
        }
        // To whom only their own is open, "not yours" and "not there" are one answer.
        Some(_) | None if caller.reach == Reach::Own => {
            Err(access::forbidden::<K>(caller, &Operation::Get(name)))
        }
        Some(_) | None => Err(ApiError::NotFound(ObjectRef::of::<K>(name))),
    }
}

/// Reads one object that the caller may see for another reason than its being theirs.
pub(super) async fn get_any<K: Resource>(cx: &Context<'_>, name: &str) -> Result<K, ApiError> {
    let found = cx.load::<K>(name).await?;
    let (stored, _) = found.ok_or_else(|| ApiError::NotFound(ObjectRef::of::<K>(name)))?;
    let mut object = stored.object;
    object.show(cx.api, cx.caller);
    Ok(object)
}

/// Creates an object from a request's body.
pub(super) async fn create<K: Resource>(cx: &Context<'_>, bytes: &[u8]) -> Result<K, ApiError> {
    let wanted: K = body::object(bytes)?;
    if !wanted.meta().resource_version.is_empty() {
        return Err(ApiError::BadRequest(
            "resourceVersion should not be set on objects to be created".to_owned(),
        ));
    }
    let name = wanted.meta().name.clone();
    for _ in 0..ATTEMPTS {
        let mut object = wanted.clone();
        let mut draft = Draft::default();
        new_meta(&mut object, &mut draft);
        settle::prove::<K>(cx, &mut draft, &Operation::Create).await?;
        let private = object.admit_new(cx, &mut draft).await?;
        if let Some(fixed) = K::fixed(cx.api, &name) {
            let why = format!(": it {}", fixed.why());
            return Err(ApiError::AlreadyExists(
                ObjectRef::of::<K>(&name),
                why.into(),
            ));
        }
        let stored = Stored::new(object, private);
        draft.put(&stored, 0);
        let txn = draft.finish::<K>(&name)?;
        if K::NAMED_BY_NAME && cx.dry_run == DryRun::No {
            stored.object.sweep(&Hands::of(cx.api)).await?;
        }
        match cx.commit(txn).await {
            Ok(revision) => return Ok(shown(cx, stored.object, revision)),
            Err(StoreError::Conflict { key }) if key == K::key(&name) => {
                return Err(ApiError::AlreadyExists(
                    ObjectRef::of::<K>(&name),
                    "".into(),
                ));
            }
            Err(StoreError::Conflict { key }) if key == super::users::tombstone(&name) => {
                let why = ": a removed user had this handle, and handles are not given again";
                return Err(ApiError::AlreadyExists(
                    ObjectRef::of::<K>(&name),
                    why.into(),
                ));
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(busy::<K>(&name))
}

/// Replaces an object by the one in a request's body.
pub(super) async fn update<K: Resource>(
    cx: &Context<'_>,
    name: &str,
    bytes: &[u8],
) -> Result<K, ApiError> {
    replace(cx, &Operation::Update(name), name, body::object(bytes)?).await
}

async fn replace<K: Resource>(
    cx: &Context<'_>,
    op: &Operation<'_>,
    name: &str,
    wanted: K,
) -> Result<K, ApiError> {
    if wanted.meta().name != name {
        return Err(ApiError::BadRequest(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            wanted.meta().name
        )));
    }
    refuse_fixed::<K>(cx, name)?;
    for _ in 0..ATTEMPTS {
        let (old, _) = to_write::<K>(cx, name, op).await?;
        let mut object = wanted.clone();
        let mut draft = Draft::default();
        settle::prove::<K>(cx, &mut draft, op).await?;
        let revision = changed_meta(&mut object, &old, &mut draft)?;
        let private = object.admit_change(cx, &old, &mut draft).await?;
        let stored = Stored::new(object, private);
        let same = stored.encode() == old.encode();
        draft.put(&stored, revision);
        let txn = draft.finish::<K>(name)?;
        if same {
            // As upstream: a write that changes nothing is no write.
            return Ok(shown(cx, old.object, Some(revision)));
        }
        match cx.commit(txn).await {
            // A dry run leaves the object with the revision that it has.
            Ok(written) => return Ok(shown(cx, stored.object, written.or(Some(revision)))),
            Err(StoreError::Conflict { key }) if key == K::key(name) => {
                return Err(modified::<K>(name));
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(busy::<K>(name))
}

/// Changes an object by a JSON merge patch (RFC 7386): what `kubectl edit`, `label`, `annotate` and a
/// client-side `apply` send for kinds that kubectl does not know.
pub(super) async fn patch<K: Resource>(
    cx: &Context<'_>,
    name: &str,
    bytes: &[u8],
) -> Result<K, ApiError> {
    let patch = Value::Object(body::fields(bytes, "merge patch")?);
    let pinned = patch.pointer("/metadata/resourceVersion").is_some();
    let mut conflict = None;
    for _ in 0..ATTEMPTS {
        refuse_fixed::<K>(cx, name)?;
        let (old, _) = to_write::<K>(cx, name, &Operation::Patch(name)).await?;
        // Kinds hold strings, numbers, lists and string-keyed maps: this cannot fail.
        let mut merged = serde_json::to_value(&old.object).unwrap_or_default();
        merge(&mut merged, &patch);
        // An object and an object make an object.
        let Value::Object(merged) = merged else {
            continue;
        };
        match replace::<K>(cx, &Operation::Patch(name), name, decode::object(merged)?).await {
            // Somebody else wrote it since; a patch that names no version is for what is there now.
            Err(error @ ApiError::Conflict(..)) if !pinned => conflict = Some(error),
            done => return done,
        }
    }
    Err(conflict.unwrap_or_else(|| busy::<K>(name)))
}

/// RFC 7386, section 2. The depth of both is bounded where they were read.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

/// An object that is to be written. To whom only their own is open, "not yours" and "not there" are one answer.
pub(super) async fn to_write<K: Resource>(
    cx: &Context<'_>,
    name: &str,
    op: &Operation<'_>,
) -> Result<(Stored<K>, KeyValue), ApiError> {
    match cx.load::<K>(name).await? {
        Some(found) if cx.caller.reach == Reach::All => Ok(found),
        Some(found) if found.0.object.is_own(cx.api, cx.caller) => Ok(found),
        _ if cx.caller.reach == Reach::Own => Err(access::forbidden::<K>(cx.caller, op)),
        _ => Err(ApiError::NotFound(ObjectRef::of::<K>(name))),
    }
}

fn new_meta<K: Resource>(object: &mut K, draft: &mut Draft) {
    let meta = object.meta_mut();
    meta.uid = uuid::Uuid::new_v4().to_string();
    meta.creation_timestamp = Some(clock::whole_seconds(clock::now()));
    let meta = object.meta();
    if meta.name.is_empty() {
        draft.wrong(Mistake::required("metadata.name", "name is required"));
    } else {
        draft.check("metadata.name", &meta.name, K::check_name(&meta.name));
    }
    draft.check_meta(meta);
}

/// Checks what an update must not change, and gives the revision that it is a change of.
fn changed_meta<K: Resource>(
    object: &mut K,
    old: &Stored<K>,
    draft: &mut Draft,
) -> Result<Revision, ApiError> {
    let (meta, was) = (object.meta_mut(), old.object.meta());
    if meta.resource_version.is_empty() {
        let detail = "must be specified for an update";
        draft.wrong(Mistake::invalid("metadata.resourceVersion", "", detail));
    } else if meta.resource_version != was.resource_version {
        return Err(modified::<K>(&was.name));
    }
    if meta.uid.is_empty() {
        meta.uid.clone_from(&was.uid);
    }
    if meta.creation_timestamp.is_none() {
        meta.creation_timestamp = was.creation_timestamp;
    }
    draft.same("metadata.uid", &was.uid, &meta.uid);
    draft.same(
        "metadata.creationTimestamp",
        &was.creation_timestamp,
        &meta.creation_timestamp,
    );
    // Labels that were there stay valid: an older gateway may have taken them.
    if meta.labels != was.labels || meta.annotations != was.annotations {
        draft.check_meta(meta);
    }
    Ok(was.resource_version.parse().unwrap_or_default())
}

pub(super) fn refuse_fixed<K: Resource>(cx: &Context<'_>, name: &str) -> Result<(), ApiError> {
    let Some(fixed) = K::fixed(cx.api, name) else {
        return Ok(());
    };
    let why = match fixed {
        Fixed::BuiltIn(_) => "is built in and can neither be changed nor removed".to_owned(),
        Fixed::Folder(..) => fixed.why(),
    };
    Err(ApiError::Forbidden(format!(
        "{} is forbidden: it {why}",
        ObjectRef::of::<K>(name)
    )))
}

/// The object as the answer to a write shows it.
pub(super) fn shown<K: Resource>(cx: &Context<'_>, mut object: K, revision: Option<Revision>) -> K {
    object.meta_mut().resource_version = revision.map(|r| r.to_string()).unwrap_or_default();
    object.show(cx.api, cx.caller);
    object
}

/// Somebody else wrote it in between.
pub(super) fn modified<K: Kind>(name: &str) -> ApiError {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    ApiError::Conflict(ObjectRef::of::<K>(name), why.to_owned())
}

/// What it refers to does not keep still.
pub(super) fn busy<K: Kind>(name: &str) -> ApiError {
    let why = "what it refers to is being changed at the same time; try again";
    ApiError::Conflict(ObjectRef::of::<K>(name), why.to_owned())
}
