//! What every request passes before its body is read: who asks, and whether there is a place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use tonic::body::Body;
use tonic::codegen::http::{Request, Response, header};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::auth::{Tokens, Verdict};
use crate::evaluation::{Held, Shared};
use crate::limits::late;

/// Who asks: the name of a token, the digest of a certificate, or an address.
#[derive(Clone, Debug)]
pub struct Caller(pub String);

/// The place and memory that a request with one large message has before it is read.
#[derive(Clone, Debug)]
pub struct Admitted(pub Arc<std::sync::Mutex<Option<Held>>>);

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Answered without a token: they say nothing but that the server is there.
const OPEN: [&str; 4] = [
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/ServerMetadata",
];

/// The methods that are counted under their names.
const METHODS: [(&str, &str); 9] = [
    (INFER, "ModelInfer"),
    ("/inference.GRPCInferenceService/ModelMetadata", "ModelMetadata"),
    (OPEN[0], "ServerLive"),
    (OPEN[1], "ServerReady"),
    (OPEN[2], "ModelReady"),
    (OPEN[3], "ServerMetadata"),
    ("/hec.v1.Encrypted/KeyStatus", "KeyStatus"),
    ("/hec.v1.Encrypted/UploadKeys", "UploadKeys"),
    ("/hec.v1.Encrypted/Evaluate", "Evaluate"),
];

/// Makes [`Gate`]s.
#[derive(Clone, Debug)]
pub struct GateLayer {
    /// The models, places and counters.
    pub shared: Arc<Shared>,
    /// The tokens, if they are asked for.
    pub tokens: Option<Arc<Tokens>>,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, layer: self.clone() }
    }
}

/// Lets requests through, or answers them itself.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    inner: S,
    layer: GateLayer,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let clone = self.inner.clone();
        // The one that was asked whether it is ready.
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let path = request.uri().path();
        let method = METHODS.iter().find(|(own, _)| *own == path).map_or("other", |(_, name)| name);
        let (infer, open) = (path == INFER, OPEN.contains(&path));
        let GateLayer { shared, tokens } = self.layer.clone();
        let caller = if open { Ok(Caller("-".to_owned())) } else { identify(&request, tokens.as_deref()) };
        Box::pin(async move {
            let passed = match caller {
                Ok(caller) => admit(&shared, &mut request, caller, infer),
                Err(status) => Err(status),
            };
            if let Err(status) = passed {
                shared.metrics.request(method, status.code());
                return Ok(status.into_http());
            }
            let calling = inner.call(request);
            let response = if infer {
                // A message is read as slowly as it comes: not for longer than a request may take.
                match tokio::time::timeout(shared.admission.limits().deadline, calling).await {
                    Ok(response) => response?,
                    Err(_elapsed) => late().into_http(),
                }
            } else {
                calling.await?
            };
            let code = response.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
            shared.metrics.request(method, code);
            Ok(response)
        })
    }
}

fn admit(shared: &Arc<Shared>, request: &mut Request<Body>, caller: Caller, infer: bool) -> Result<(), Status> {
    if infer {
        let place = shared.admission.enter(&caller.0)?.into();
        // All of it is read into memory before anything else can be done.
        let memory = shared.admission.memory_now(shared.admission.limits().message as u64).ok_or_else(|| {
            Status::resource_exhausted("no memory for one more request in one message: try again later, or as a stream")
        })?;
        request.extensions_mut().insert(Admitted(Arc::new(Some(Held { place, memory }).into())));
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

fn identify(request: &Request<Body>, tokens: Option<&Tokens>) -> Result<Caller, Status> {
    if let Some(tokens) = tokens {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| Status::unauthenticated("expected a header `authorization: Bearer TOKEN`"))?;
        return match tokens.verdict(token, SystemTime::now()) {
            Verdict::Known(name) => Ok(Caller(name)),
            Verdict::Expired(name) => {
                tracing::warn!(client = %name, "an expired token");
                Err(Status::unauthenticated("the token has expired: ask for another one"))
            }
            Verdict::Unknown => Err(Status::unauthenticated("the token is not known here")),
        };
    }
    let tls = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    if let Some(certificate) = tls.and_then(TlsConnectInfo::peer_certs).and_then(|all| all.first().cloned()) {
        return Ok(Caller(format!("certificate {}", &blake3::hash(&certificate).to_hex()[..16])));
    }
    let tcp = tls.map(|tls| tls.get_ref()).or_else(|| request.extensions().get::<TcpConnectInfo>());
    let address = tcp.and_then(|tcp| tcp.remote_addr).map(|address| address.ip().to_string());
    Ok(Caller(address.unwrap_or_else(|| "unknown".to_owned())))
}
