//! `/app`: the switch, and what was shared before it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Extension, Request, State};
use serde::Serialize;

use super::ControlState;
use super::api_key::Caller;
use super::call::{self, App};
use super::error::ApiError;
use super::fields::Fields;
use super::nodes::Receipt;
use super::users::Data;
use crate::feed::wire::{Observed, is_name};
use crate::gate::{Access, PublicPrefixes};
use crate::store::settings::Settings;

/// The most folders that can be set.
const MAX_PREFIXES: usize = 100;

/// The last time that can be set: the year 9999.
const MAX_TIME: u64 = 253_402_300_799;

/// An app, as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    id: String,
    /// What holds.
    pub(super) access: &'static str,
    /// What the configuration says of it.
    configured_access: &'static str,
    /// Folders that need no token, beside those of the configuration.
    public_prefixes: BTreeSet<String>,
    /// UNIX seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenized_since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receipt: Option<Receipt>,
}

/// `GET /app`.
pub(super) async fn get(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    call::no_query(request.uri())?;
    let app = App::of(request.headers(), &state.gate(), &caller)?;
    let settings = state.0.store.settings(&app.id).await?;
    Ok(Json(Data { data: state.shown(app, settings, None) }))
}

/// `PUT /app {"access":"enforce","publicPrefixes":["legacy/"],"tokenizedSince":1767225600}`; what is left out stays, and a
/// `tokenizedSince` of 0 takes the date back.
pub(super) async fn update(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    let mut fields = Fields::read(call.json.as_deref(), ["access", "publicPrefixes", "tokenizedSince"])?;
    let access = fields.text("access", 16);
    let access = access.map(|label| Access::ALL.into_iter().find(|access| access.label() == label));
    if access == Some(None) {
        fields.wrong("access", "The access must be \"off\", \"observe\" or \"enforce\".");
    }
    let prefixes = fields.has("publicPrefixes").then(|| fields.texts("publicPrefixes", MAX_PREFIXES));
    if prefixes.iter().flatten().any(|prefix| !is_name(prefix))
        || PublicPrefixes::new(prefixes.iter().flatten().cloned()).is_err()
    {
        fields.wrong("publicPrefixes", "The publicPrefixes must be folders of the app, like \"legacy/\".");
    }
    let since = fields.number("tokenizedSince", 0..=MAX_TIME);
    fields.finish()?;
    let wanted = WantedSettings { access: access.flatten(), prefixes, since };
    Ok(Json(Data { data: state.set_app(&caller, call.app, wanted, call.wait).await? }))
}

/// What of an app's settings is to change.
#[derive(Debug, Default)]
pub(super) struct WantedSettings {
    pub(super) access: Option<Access>,
    pub(super) prefixes: Option<Vec<String>>,
    pub(super) since: Option<u64>,
}

/// `GET /observed`: what would have been refused since each node started, if access were enforced.
pub(super) async fn observed(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Vec<Observed>>>, ApiError> {
    caller.full_access()?;
    call::no_query(request.uri())?;
    let app = App::of(request.headers(), &state.gate(), &caller)?;
    Ok(Json(Data { data: state.0.nodes.observed(&app.id, Instant::now()) }))
}

impl ControlState {
    /// Changes the settings of an app. They are in force on this node then.
    pub(super) async fn set_app(
        &self,
        caller: &Caller,
        app: App,
        wanted: WantedSettings,
        wait: Option<Duration>,
    ) -> Result<Shown, ApiError> {
        let WantedSettings { access, prefixes, since } = wanted;
        if access.is_some_and(|access| access != Access::Off) && !self.gate().has_keys(&app.id) {
            return Err(ApiError::NoVerifyingKey);
        }
        let configured = self.configured(&app);
        let set = self.0.store.set(&app.id, move |settings| {
            if let Some(wanted) = access {
                configured.switched(settings.app, wanted)?;
                settings.app.is_observed = wanted == Access::Observe;
                settings.app.is_enforced = wanted == Access::Enforce;
            }
            if let Some(prefixes) = prefixes {
                settings.prefixes = prefixes.into_iter().collect();
            }
            if let Some(since) = since {
                settings.app.tokenized_since = Some(since).filter(|since| *since != 0);
            }
            Ok(())
        });
        let (settings, changes) = set.await?;
        let settings = settings.map_err(ApiError::StepDown)?;
        let committed = self.in_force(changes).await?;
        let receipt = self.receipt(&committed, wait).await?;
        let shown = self.shown(app, settings, receipt);
        log::info!("control: `{}` changed the settings of app `{}`: access {}", caller.name, shown.id, shown.access);
        Ok(shown)
    }

    /// What the configuration says of an app's access.
    pub(super) fn configured(&self, app: &App) -> Access {
        self.gate().access(&app.id).unwrap_or_default()
    }

    fn shown(&self, app: App, settings: Settings, receipt: Option<Receipt>) -> Shown {
        let configured = self.configured(&app);
        Shown {
            id: app.id,
            access: configured.with(settings.app).label(),
            configured_access: configured.label(),
            public_prefixes: settings.prefixes,
            tokenized_since: settings.app.tokenized_since,
            receipt,
        }
    }
}
