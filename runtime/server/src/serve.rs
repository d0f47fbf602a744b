//! The process: listening, reloading, shutting down.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hec_protocol::encrypted::encrypted_server::EncryptedServer;
use hec_protocol::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_stream::Stream;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use crate::auth::{TokenError, Tokens};
use crate::encrypted::Service;
use crate::evaluation::Shared;
use crate::gate::GateLayer;
use crate::inference::Inference;
use crate::limits::{Admission, Limits};
use crate::metrics::Metrics;
use crate::repository::{Change, Repository, Source};
use crate::store::Store;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens for gRPC.
    pub listen: SocketAddr,
    /// Where it answers probes and Prometheus.
    pub http: Option<SocketAddr>,
    /// The programs.
    pub source: Source,
    /// Certificate chain and private key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Who signs the certificates that clients need, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Who may ask.
    pub tokens: Option<PathBuf>,
    /// The folder of evaluation keys; without one they are in memory.
    pub keys: Option<PathBuf>,
    /// How often files are looked at for changes.
    pub poll: Duration,
    /// How long requests may go on when the server shuts down.
    pub grace: Duration,
    /// All else.
    pub limits: Limits,
}

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An address cannot be had.
    #[error("{address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Tokens are refused.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// A program is refused.
    #[error("{}: {reason}", path.display())]
    Program {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Settings(String),
    /// The transport failed.
    #[error("the server stopped: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A client that does not get through the TLS handshake by then is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);

fn pem(path: &PathBuf) -> Result<Vec<u8>, ServeError> {
    std::fs::read(path).map_err(|source| ServeError::File { path: path.clone(), source })
}

fn tls(settings: &Settings) -> Result<Option<ServerTlsConfig>, ServeError> {
    let Some((certificate, key)) = &settings.identity else {
        return match &settings.client_ca {
            Some(_) => {
                Err(ServeError::Settings("certificates of clients need TLS: give --tls-cert and --tls-key".into()))
            }
            None => Ok(None),
        };
    };
    let mut config =
        ServerTlsConfig::new().identity(Identity::from_pem(pem(certificate)?, pem(key)?)).timeout(HANDSHAKE);
    if let Some(ca) = &settings.client_ca {
        config = config.client_ca_root(Certificate::from_pem(pem(ca)?));
    }
    Ok(Some(config))
}

fn log(changes: &[Change]) {
    for change in changes {
        match change {
            Change::Loaded { name, program } => tracing::info!(model = %name, %program, "serving"),
            Change::Removed { name } => tracing::info!(model = %name, "not served any more"),
            Change::Refused { path, reason } => tracing::error!(file = %path.display(), %reason, "refused"),
        }
    }
}

/// Serves until `stop` is done (and on Unix SIGTERM or SIGINT come), then finishes what runs. `started` gets the addresses.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    settings: Settings,
    started: impl FnOnce(SocketAddr, Option<SocketAddr>),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let limits = settings.limits.clone();
    if limits.message as u64 > limits.memory {
        return Err(ServeError::Settings("--max-message is larger than --memory, which all requests share".into()));
    }
    let tls = tls(&settings)?;
    let tokens = settings.tokens.clone().map(Tokens::read).transpose()?.map(Arc::new);
    let models = Repository::new(settings.source.clone(), limits.memory);
    let changes = models.refresh();
    log(&changes);
    if let (Source::Files(_), Some(Change::Refused { path, reason })) =
        (&settings.source, changes.iter().find(|change| matches!(change, Change::Refused { .. })))
    {
        return Err(ServeError::Program { path: path.clone(), reason: reason.clone() });
    }
    let folder = settings.keys.clone();
    let keys = Store::new(folder.clone(), limits.clone())
        .map_err(|source| ServeError::File { path: folder.unwrap_or_default(), source })?;
    let admission = Admission::new(limits.clone());
    let shared = Arc::new(Shared { models, keys, admission, metrics: Metrics::default() });

    let listen = |address: SocketAddr| async move {
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
        let own = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
        Ok::<_, ServeError>((listener, own))
    };
    let (listener, address) = listen(settings.listen).await?;
    let (closing, closed) = watch::channel(false);
    let mut http = None;
    if let Some(address) = settings.http {
        let (listener, own) = listen(address).await?;
        let (routes, mut closed) = (crate::http::routes(shared.clone()), closed.clone());
        tokio::spawn(async move {
            let stopped = async move { drop(closed.wait_for(|closed| *closed).await) };
            if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "HTTP stopped");
            }
        });
        http = Some(own);
    }
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "without TLS: tokens and ciphertexts can be read and changed on the way");
    }
    tracing::info!(%address, tls = tls.is_some(), mutual = settings.client_ca.is_some(), tokens = tokens.is_some(), "listening");
    started(address, http);
    tokio::spawn(watch_files(shared.clone(), tokens.clone(), settings.poll));

    let mut server = Server::builder()
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_streams(256)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)));
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    let chunk = limits.chunk;
    let inference = GrpcInferenceServiceServer::new(Inference(shared.clone()))
        .max_decoding_message_size(limits.message)
        .max_encoding_message_size(usize::MAX);
    let encrypted = EncryptedServer::new(Service(shared.clone()))
        .max_decoding_message_size(chunk)
        .max_encoding_message_size(usize::MAX);
    let incoming =
        Incoming { listener, places: Arc::new(Semaphore::new(limits.connections)), waiting: None, pause: None };
    let own = shared.clone();
    let stopping = async move {
        stop.await;
        // From here on new requests are refused, and probes are told.
        own.admission.close();
        tracing::info!(requests = own.admission.inside(), "shutting down");
    };
    let serving = server
        .layer(GateLayer { shared: shared.clone(), tokens })
        .add_service(inference)
        .add_service(encrypted)
        .serve_with_incoming_shutdown(incoming, stopping);
    let grace = settings.grace;
    let late = async {
        while !shared.admission.is_closed() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let end = tokio::time::Instant::now() + grace;
        // Connections stay open as long as clients like: what counts is that nothing runs any more.
        while shared.admission.inside() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The last answers are on their way.
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let served = tokio::select! {
        served = serving => served,
        () = late => Ok(()),
    };
    let _ = closing.send(true);
    tracing::info!(unfinished = shared.admission.inside(), "stopped");
    Ok(served?)
}

/// Looks for changed programs and tokens, now and then and on SIGHUP.
async fn watch_files(shared: Arc<Shared>, tokens: Option<Arc<Tokens>>, poll: Duration) {
    #[cfg(unix)]
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    loop {
        #[cfg(unix)]
        match &mut hangup {
            Some(hangup) => tokio::select! {
                () = tokio::time::sleep(poll) => {}
                _ = hangup.recv() => {}
            },
            None => tokio::time::sleep(poll).await,
        }
        #[cfg(not(unix))]
        tokio::time::sleep(poll).await;
        let (shared, tokens) = (shared.clone(), tokens.clone());
        let looked = tokio::task::spawn_blocking(move || {
            log(&shared.models.refresh());
            match tokens.map(|tokens| tokens.reload()) {
                Some(Ok(true)) => tracing::info!("tokens read again"),
                Some(Err(error)) => tracing::error!(%error, "the tokens stay as they were"),
                Some(Ok(false)) | None => {}
            }
        });
        if looked.await.is_err() {
            tracing::error!("looking for changed files failed");
        }
    }
}

/// Done when the process is asked to end.
pub async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

type Waiting = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// Connections, at most so many at a time: others wait in the system's queue.
struct Incoming {
    listener: TcpListener,
    places: Arc<Semaphore>,
    waiting: Option<(Waiting, Option<OwnedSemaphorePermit>)>,
    /// After an error.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let places = self.places.clone();
        let (waiting, place) =
            self.waiting.get_or_insert_with(|| (Box::pin(async move { places.acquire_owned().await.ok() }), None));
        if place.is_none() {
            match waiting.as_mut().poll(context) {
                Poll::Ready(permit) => *place = permit,
                Poll::Pending => return Poll::Pending,
            }
        }
        match self.listener.poll_accept(context) {
            Poll::Ready(Ok((stream, _))) => {
                let place = self.waiting.take().and_then(|(_, place)| place);
                let _ = stream.set_nodelay(true);
                Poll::Ready(Some(Ok(Connection { stream, _place: place })))
            }
            // Too many open files, a connection that was reset: the next one may be better.
            Poll::Ready(Err(error)) => {
                tracing::warn!(%error, "a connection was not accepted");
                let mut pause = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
                // It wakes this task.
                let _ = pause.as_mut().poll(context);
                self.pause = Some(pause);
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A connection and its place.
struct Connection {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl tokio::io::AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl tokio::io::AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
