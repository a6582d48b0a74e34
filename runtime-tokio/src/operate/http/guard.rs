//! Who is answered over HTTP, and who may have something done.
//!
//! Probes are answered to all, and everything else as `HTTP_AUTH` says. What changes something needs the right `admin`:
//! by the token of a principal that has it, or else on the broker's own machine, where those may do so who say nothing
//! of who they are.

use super::orders::Operator;
use crate::access::{Credential, Gate};
use crate::settings::HttpAuth;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, FORWARDED, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use message_queue_core::access::Rights;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// What is answered to all: whether the broker lives, and takes work.
const PROBES: [&str; 2] = ["/healthz", "/ready"];

const METRICS: &str = "/metrics";

/// The longest that whoever shows a wrong token waits. While it does it holds one of few places.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// The headers by which a request shows that it was not made where it comes from: a web page has a
/// browser send it, or a proxy passes it on.
const ON_BEHALF: [HeaderName; 3] = [
    ORIGIN,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
];

/// Looks at who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// None: nobody is asked who they are.
    gate: Option<Gate>,
    shown: HttpAuth,
}

/// Whose request it is.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Of somebody who has shown a token, with these rights.
    Known(Arc<Rights>),
    /// Of somebody who has shown none. Whoever is on the broker's own machine has these rights.
    Unknown(Arc<Rights>),
}

/// Why somebody is not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Denied {
    #[error(
        "this needs the header Authorization: Bearer TOKEN, of a principal with the right admin"
    )]
    NoToken,
    #[error("the token is not known")]
    UnknownToken,
    #[error("the principal of this token has no right admin to that")]
    NoRight,
    #[error(
        "without a token this is answered only to a client on the broker's own machine (127.0.0.1 or ::1); the \
         request comes from {}",
        .0.0.ip().to_canonical()
    )]
    Elsewhere(Operator),
    #[error(
        "without a token this is answered only to a client on the broker's own machine; the request has the header \
         {0}, so it was passed on by a proxy or made by a web page"
    )]
    OnBehalf(HeaderName),
}

impl Guard {
    pub(crate) const fn new(gate: Option<Gate>, shown: HttpAuth) -> Self {
        Self { gate, shown }
    }

    /// Whose request it is.
    async fn caller(
        &self,
        operator: Option<Operator>,
        headers: &HeaderMap,
    ) -> Result<Caller, Denied> {
        let Some(gate) = &self.gate else {
            return Ok(Caller::Unknown(Arc::new(Rights::all())));
        };
        let Some(authorization) = headers.get(AUTHORIZATION) else {
            let anonymous = gate.principal(&Credential::Nothing);
            let rights = anonymous.map_or(Rights::default(), |(it, _)| it.rights);
            return Ok(Caller::Unknown(Arc::new(rights)));
        };
        let token = authorization.to_str().ok().and_then(|it| {
            let (scheme, token) = it.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let principal = token.and_then(|token| {
            let credential = gate.credential(Some(token), None);
            gate.principal(&credential).ok()
        });
        if let Some((principal, _)) = principal {
            return Ok(Caller::Known(Arc::new(principal.rights)));
        }
        if let Some(operator) = operator {
            sleep(gate.note_failure(operator.0.ip()).min(LONGEST_WAIT)).await;
        }
        Err(Denied::UnknownToken)
    }

    /// Whether what stands at a path is shown to somebody.
    fn shows(&self, path: &str, caller: &Caller) -> Result<(), Denied> {
        let to_all = match self.shown {
            HttpAuth::Open => true,
            HttpAuth::Metrics => path == METRICS,
            HttpAuth::All => false,
        };
        match caller {
            _ if to_all => Ok(()),
            Caller::Known(rights) if rights.is_admin() => Ok(()),
            Caller::Known(_) => Err(Denied::NoRight),
            Caller::Unknown(_) => Err(Denied::NoToken),
        }
    }
}

/// Lets a request pass whose sender may see what it asks for. What it may have done is checked where it is done.
pub(super) async fn check(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if PROBES.contains(&path) {
        return next.run(request).await;
    }
    let operator = request.extensions().get::<Operator>().copied();
    let caller = match guard.caller(operator, request.headers()).await {
        Ok(caller) => caller,
        Err(denied) => return denied.into_response(),
    };
    if request.method().is_safe()
        && let Err(denied) = guard.shows(path, &caller)
    {
        return denied.into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

impl Caller {
    /// Whether whoever asks may have something done that needs a right.
    pub(super) fn may(
        &self,
        operator: Operator,
        headers: &HeaderMap,
        right: impl Fn(&Rights) -> bool,
    ) -> Result<(), Denied> {
        match self {
            Self::Known(rights) if right(rights) => Ok(()),
            Self::Known(_) => Err(Denied::NoRight),
            Self::Unknown(rights) if right(rights) => {
                // An IPv4 client of an IPv6 socket comes from ::ffff:127.0.0.1.
                if !operator.0.ip().to_canonical().is_loopback() {
                    return Err(Denied::Elsewhere(operator));
                }
                let on_behalf = ON_BEHALF.into_iter().find(|it| headers.contains_key(it));
                on_behalf.map_or(Ok(()), |header| Err(Denied::OnBehalf(header)))
            }
            Self::Unknown(_) => Err(Denied::NoToken),
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let text = format!("{self}\n");
        match self {
            Self::NoToken | Self::UnknownToken => {
                let challenge = [(WWW_AUTHENTICATE, "Bearer")];
                (StatusCode::UNAUTHORIZED, challenge, text).into_response()
            }
            Self::NoRight | Self::Elsewhere(..) | Self::OnBehalf(..) => {
                (StatusCode::FORBIDDEN, text).into_response()
            }
        }
    }
}
