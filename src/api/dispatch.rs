//! From a request to what is done about it.

use super::access::{self, Operation};
use super::answer;
use super::error::ApiError;
use super::policy_status::PolicyStatus;
use super::query::{DryRun, Query};
use super::resource::{self, Context, Resource};
use super::route::Route;
use super::table::{self, Many};
use super::{
    Api, Body, Caller, body, cluster_actions, delete, discovery, list, openapi, password, review,
    settle, tokens, unlock, version,
};
use crate::authz::RequestInfo;
use crate::objects::{Binding, Cluster, Group, Kind, Project, Role, Token, User};
use http::{Method, Response, StatusCode, request::Parts};
use serde_json::{Value, json};

/// What a request asks.
pub(super) struct Call<'a> {
    route: Route<'a>,
    query: Query,
    dry_run: DryRun,
}

impl<'a> Call<'a> {
    /// Reads a request's target.
    pub(super) fn read(head: &'a Parts) -> Result<Self, ApiError> {
        let route = Route::parse(head.uri.path()).ok_or(ApiError::NoSuchPath)?;
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let dry_run = query.dry_run()?;
        let mut call = Self {
            route,
            query,
            dry_run,
        };
        call.query.judged_name = call.check_judged(head)?;
        Ok(call)
    }

    /// These reviews are about the caller and nothing else, and kubectl sends them as protobuf.
    pub(super) fn ignores_body(&self) -> bool {
        matches!(
            self.route,
            Route::SelfSubjectReviews(_) | Route::SelfSubjectRulesReviews
        )
    }

    /// The types in which its body may come.
    pub(super) fn accepts(&self, method: &Method) -> &'static str {
        match (self.route, method) {
            (Route::SelfSubjectAccessReviews, _) => body::JSON_OR_PROTOBUF,
            (_, &Method::PATCH) => body::MERGE_PATCH,
            _ => body::JSON,
        }
    }

    /// The object that is carried out is the object that was judged: the policy read the target with
    /// `RequestInfo`, and the two readings must be one (P1, P5). Gives the one name that a list is about.
    fn check_judged(&self, head: &Parts) -> Result<Option<String>, ApiError> {
        let Route::Object {
            resource,
            name,
            subresource,
        } = self.route
        else {
            return Ok(None);
        };
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let info = RequestInfo::parse(head.method.as_str(), target, false);
        let info = info.map_err(|refusal| ApiError::BadRequest(refusal.to_string()))?;
        let listed = name.is_none() && matches!(&*info.verb, "list" | "watch");
        let same = info.is_resource
            && info.resource == resource
            && (listed || *info.name == *name.unwrap_or_default())
            && *info.subresource == *subresource.unwrap_or_default()
            && (info.verb == "watch") == (listed && self.query.watch());
        if !same {
            return Err(ApiError::NoSuchPath);
        }
        Ok((listed && !info.name.is_empty()).then(|| info.name.into_owned()))
    }
}

/// Carries out a request.
pub(super) async fn answer(
    api: &Api,
    caller: &Caller,
    head: &Parts,
    call: Call<'_>,
    bytes: &[u8],
) -> Result<Response<Body>, ApiError> {
    let Call {
        route,
        query,
        dry_run,
    } = call;
    if let Route::Object {
        resource,
        name,
        subresource,
    } = route
    {
        let cx = Context {
            api,
            caller,
            dry_run,
        };
        let request = Request {
            cx: &cx,
            head,
            query: &query,
            bytes,
        };
        return match resource {
            Binding::PLURAL => request.serve::<Binding>(name, subresource).await,
            Cluster::PLURAL => request.serve::<Cluster>(name, subresource).await,
            Group::PLURAL => request.serve::<Group>(name, subresource).await,
            Project::PLURAL => request.serve::<Project>(name, subresource).await,
            Role::PLURAL => request.serve::<Role>(name, subresource).await,
            Token::PLURAL => request.serve::<Token>(name, subresource).await,
            User::PLURAL => request.serve::<User>(name, subresource).await,
            _ => Err(ApiError::NoSuchPath),
        };
    }
    if let Some(review) = reviewed(api, caller, head, &route, bytes)? {
        return Ok(answer::json(StatusCode::CREATED, answer::JSON, &review));
    }
    allow(head, &[Method::GET, Method::HEAD])?;
    match route {
        Route::Version => Ok(discovery::version()),
        Route::Api => discovery::api(&head.headers),
        Route::Apis => discovery::apis(&head.headers),
        Route::Group(group) => Ok(discovery::group(group)),
        Route::GroupVersion(group, version) => Ok(discovery::group_version(group, version)),
        Route::PolicyStatus => Ok(answer::ok(&PolicyStatus::of(api))),
        Route::OpenApiOld => openapi::old(&head.headers),
        Route::OpenApiIndex => Ok(openapi::index()),
        Route::OpenApi(group, version) => openapi::document(group, version),
        Route::SelfSubjectReviews(_)
        | Route::SelfSubjectAccessReviews
        | Route::SelfSubjectRulesReviews
        | Route::Object { .. } => Err(ApiError::NoSuchPath),
    }
}

/// The review that is asked for, if one is.
fn reviewed(
    api: &Api,
    caller: &Caller,
    head: &Parts,
    route: &Route<'_>,
    bytes: &[u8],
) -> Result<Option<Value>, ApiError> {
    let review = match route {
        Route::SelfSubjectReviews(version) => {
            allow(head, &[Method::POST])?;
            review::review(api, caller, version)
        }
        Route::SelfSubjectAccessReviews => {
            allow(head, &[Method::POST])?;
            review::access(api, caller, bytes)?
        }
        Route::SelfSubjectRulesReviews => {
            allow(head, &[Method::POST])?;
            review::rules(api, caller)
        }
        Route::Version
        | Route::Api
        | Route::Apis
        | Route::Group(_)
        | Route::GroupVersion(..)
        | Route::OpenApiOld
        | Route::OpenApiIndex
        | Route::OpenApi(..)
        | Route::PolicyStatus
        | Route::Object { .. } => return Ok(None),
    };
    Ok(Some(review))
}

fn allow(head: &Parts, methods: &[Method]) -> Result<(), ApiError> {
    if methods.contains(&head.method) {
        return Ok(());
    }
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    Err(ApiError::MethodNotAllowed(format!(
        "the method {} is not allowed here: this path takes {}",
        head.method,
        names.join(", ")
    )))
}

/// What a request that writes does, in words; whether there is such a thing shows later.
fn written<'a>(
    method: &Method,
    name: Option<&'a str>,
    subresource: Option<&'a str>,
) -> Operation<'a> {
    match (method, name, subresource) {
        (&Method::POST, Some(name), Some(sub)) => Operation::Sub(name, sub, "create"),
        (_, Some(name), Some(sub)) => Operation::Sub(name, sub, "update"),
        (&Method::DELETE, name, _) => Operation::Delete(name.unwrap_or_default()),
        (&Method::PATCH, name, _) => Operation::Patch(name.unwrap_or_default()),
        (_, None, _) => Operation::Create,
        (_, Some(name), None) => Operation::Update(name),
    }
}

/// A request about one of the kinds.
struct Request<'a> {
    cx: &'a Context<'a>,
    head: &'a Parts,
    query: &'a Query,
    bytes: &'a [u8],
}

impl Request<'_> {
    async fn serve<K: Resource>(
        &self,
        name: Option<&str>,
        subresource: Option<&str>,
    ) -> Result<Response<Body>, ApiError> {
        if matches!(self.head.method, Method::GET | Method::HEAD) {
            return self.carry_out::<K>(name, subresource).await;
        }
        let (api, caller) = (self.cx.api, self.cx.caller);
        let op = written(&self.head.method, name, subresource);
        let caller = settle::caller::<K>(api, caller, self.head, &op).await?;
        let cx = Context {
            caller: &caller,
            ..*self.cx
        };
        let request = Request { cx: &cx, ..*self };
        request.carry_out::<K>(name, subresource).await
    }

    async fn carry_out<K: Resource>(
        &self,
        name: Option<&str>,
        subresource: Option<&str>,
    ) -> Result<Response<Body>, ApiError> {
        match (name, subresource) {
            (None, _) => self.collection::<K>().await,
            (Some(name), None) => self.object::<K>(name).await,
            (Some(name), Some(subresource)) => self.subresource::<K>(name, subresource).await,
        }
    }

    fn check<K: Kind>(&self, op: &Operation<'_>) -> Result<(), ApiError> {
        access::check::<K>(self.cx.caller, op)
    }

    async fn collection<K: Resource>(&self) -> Result<Response<Body>, ApiError> {
        match self.head.method {
            Method::GET | Method::HEAD => {
                self.check::<K>(&Operation::List)?;
                let form = table::form(&self.head.headers, Many::List)?;
                let page = list::list::<K>(self.cx, self.query).await?;
                Ok(answer::ok(&table::page(&page, form, self.query)?))
            }
            Method::POST => {
                self.check::<K>(&Operation::Create)?;
                let value = if K::KIND == Token::KIND {
                    to_value(&tokens::create(self.cx, self.bytes).await?)
                } else {
                    to_value(&resource::create::<K>(self.cx, self.bytes).await?)
                };
                Ok(answer::json(StatusCode::CREATED, answer::JSON, &value))
            }
            _ => {
                allow(self.head, &[Method::GET, Method::POST])?;
                Err(ApiError::NoSuchPath)
            }
        }
    }

    async fn object<K: Resource>(&self, name: &str) -> Result<Response<Body>, ApiError> {
        match self.head.method {
            Method::GET | Method::HEAD => {
                self.check::<K>(&Operation::Get(name))?;
                let form = table::form(&self.head.headers, Many::One)?;
                let version = version::Wanted::of_get(self.query)?;
                version.check(&self.cx.api.store).await?;
                let object = resource::get::<K>(self.cx, name).await?;
                Ok(answer::ok(&table::one(object, form, self.query)?))
            }
            Method::PUT => {
                self.check::<K>(&Operation::Update(name))?;
                Ok(answer::ok(
                    &resource::update::<K>(self.cx, name, self.bytes).await?,
                ))
            }
            Method::PATCH => {
                self.check::<K>(&Operation::Patch(name))?;
                Ok(answer::ok(
                    &resource::patch::<K>(self.cx, name, self.bytes).await?,
                ))
            }
            Method::DELETE => {
                self.check::<K>(&Operation::Delete(name))?;
                let gone = delete::delete::<K>(self.cx, name, self.bytes).await?;
                Ok(answer::ok(&deleted(&gone)))
            }
            _ => {
                allow(
                    self.head,
                    &[Method::GET, Method::PUT, Method::PATCH, Method::DELETE],
                )?;
                Err(ApiError::NoSuchPath)
            }
        }
    }

    async fn subresource<K: Resource>(
        &self,
        name: &str,
        subresource: &str,
    ) -> Result<Response<Body>, ApiError> {
        let (method, verb) = match (K::PLURAL, subresource) {
            (User::PLURAL, "password") | (Cluster::PLURAL, "credential") => (Method::PUT, "update"),
            (Cluster::PLURAL, "manifest") => (Method::GET, "get"),
            (Cluster::PLURAL, "sync" | "cleanup") | (User::PLURAL, "unlock") => {
                (Method::POST, "create")
            }
            _ => return Err(ApiError::NoSuchPath),
        };
        allow(self.head, &[method])?;
        self.check::<K>(&Operation::Sub(name, subresource, verb))?;
        let value = match subresource {
            "password" => to_value(&password::set(self.cx, name, self.bytes).await?),
            "unlock" => to_value(&unlock::unlock(self.cx, name, self.bytes).await?),
            "credential" => cluster_actions::credential(self.cx, name, self.bytes).await?,
            "manifest" => cluster_actions::manifest(self.cx, name)?,
            "sync" => cluster_actions::sync(self.cx, name).await?,
            "cleanup" => cluster_actions::clean_up(self.cx, name).await?,
            _ => return Err(ApiError::NoSuchPath),
        };
        Ok(answer::ok(&value))
    }
}

fn to_value(value: &impl serde::Serialize) -> Value {
    // Kinds hold strings, numbers, lists and string-keyed maps: this cannot fail.
    serde_json::to_value(value).unwrap_or_default()
}

/// `metav1.Status` of a removal, with the uid: kubectl waits for that object to be gone.
fn deleted<K: Kind>(gone: &K) -> Value {
    let meta = gone.meta();
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": meta.name,
            "group": crate::objects::GROUP,
            "kind": K::PLURAL,
            "uid": meta.uid,
        },
    })
}
