//! quinn by hand: one stream in each direction, and a length before each message.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig,
    TokioRuntime,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::transport::{self, HELLO};

/// The same as quicpool asks for.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

const NAME: &str = "peers";

/// Bytes of the length before a message.
const LENGTH_LEN: usize = 4;

/// What the reader holds; no message is longer.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// An endpoint that waits for its peer.
pub struct Listener {
    endpoint: Endpoint,
    address: SocketAddr,
    batch_messages: usize,
}

/// A stream to write on.
pub struct Tx {
    stream: SendStream,
    buffer: Vec<u8>,
    messages: usize,
    batch_messages: usize,
    _connection: Kept,
}

/// A stream to read from.
pub struct Rx {
    stream: RecvStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    _connection: Kept,
}

/// What must live as long as its streams.
#[derive(Clone)]
struct Kept {
    _endpoint: Endpoint,
    _connection: Connection,
}

/// Connects to a listener; `batch_messages` go in one write.
pub async fn dial(address: &str, batch_messages: usize) -> Result<(Tx, Rx)> {
    let address: SocketAddr = address.parse().context("the child's address")?;
    let endpoint = endpoint(None)?;
    let client = ClientConfig::new(Arc::new(client_config()?));
    let connection = endpoint.connect_with(client, address, NAME)?.await?;
    let mut sending = connection.open_uni().await?;
    write_hello(&mut sending).await?;
    let receiving = connection.accept_uni().await?;
    let (tx, mut rx) = halves(endpoint, connection, sending, receiving, batch_messages);
    rx.read_hello().await?;
    Ok((tx, rx))
}

/// Binds an endpoint to any free port.
pub fn listen(batch_messages: usize) -> Result<Listener> {
    let server = ServerConfig::with_crypto(Arc::new(server_config()?));
    let endpoint = endpoint(Some(server))?;
    let address = endpoint.local_addr()?;
    Ok(Listener {
        endpoint,
        address,
        batch_messages,
    })
}

impl transport::Listener for Listener {
    type Tx = Tx;
    type Rx = Rx;

    fn address(&self) -> String {
        self.address.to_string()
    }

    async fn accept(self) -> Result<(Tx, Rx)> {
        let incoming = self.endpoint.accept().await.context("nobody came")?;
        let connection = incoming.await?;
        let receiving = connection.accept_uni().await?;
        let mut sending = connection.open_uni().await?;
        write_hello(&mut sending).await?;
        let (tx, mut rx) = halves(
            self.endpoint,
            connection,
            sending,
            receiving,
            self.batch_messages,
        );
        rx.read_hello().await?;
        Ok((tx, rx))
    }
}

fn halves(
    endpoint: Endpoint,
    connection: Connection,
    sending: SendStream,
    receiving: RecvStream,
    batch_messages: usize,
) -> (Tx, Rx) {
    let kept = Kept {
        _endpoint: endpoint,
        _connection: connection,
    };
    let tx = Tx {
        stream: sending,
        buffer: Vec::new(),
        messages: 0,
        batch_messages,
        _connection: kept.clone(),
    };
    let rx = Rx {
        stream: receiving,
        buffer: vec![0; READ_BUFFER_BYTES],
        start: 0,
        end: 0,
        _connection: kept,
    };
    (tx, rx)
}

async fn write_hello(stream: &mut SendStream) -> Result<()> {
    let mut buffer = Vec::new();
    frame(&mut buffer, HELLO);
    Ok(stream.write_all(&buffer).await?)
}

fn frame(buffer: &mut Vec<u8>, message: &[u8]) {
    let len = u32::try_from(message.len()).expect("invariant: no message is so long");
    buffer.extend_from_slice(&len.to_be_bytes());
    buffer.extend_from_slice(message);
}

impl transport::Tx for Tx {
    async fn send(&mut self, message: &[u8]) -> Result<()> {
        frame(&mut self.buffer, message);
        self.messages += 1;
        if self.messages < self.batch_messages {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        self.messages = 0;
        Ok(())
    }
}

impl transport::Rx for Rx {
    async fn receive(&mut self, mut each: impl FnMut(&[u8]) + Send) -> Result<()> {
        self.fill().await?;
        while let Some(message) = self.next() {
            each(message);
        }
        Ok(())
    }
}

impl Rx {
    async fn read_hello(&mut self) -> Result<()> {
        self.fill().await?;
        ensure!(self.next() == Some(HELLO), "the first message is not hello");
        Ok(())
    }

    /// Reads once, behind what is left of the read before.
    async fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = self.stream.read(&mut self.buffer[self.end..]).await?;
        self.end += read.context("the stream has ended")?;
        Ok(())
    }

    fn next(&mut self) -> Option<&[u8]> {
        let held = &self.buffer[self.start..self.end];
        let (length, rest) = held.split_first_chunk::<LENGTH_LEN>()?;
        let message = rest.get(..u32::from_be_bytes(*length) as usize)?;
        self.start += LENGTH_LEN + message.len();
        Some(message)
    }
}

fn endpoint(server: Option<ServerConfig>) -> Result<Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let config = EndpointConfig::default();
    let runtime = Arc::new(TokioRuntime);
    Ok(Endpoint::new(config, server, socket.into(), runtime)?)
}

/// The suite that quicpool prefers too, and no other.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..ring::default_provider()
    })
}

fn credentials() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    Ok((vec![own.cert.der().clone()], key.into()))
}

fn client_config() -> Result<QuicClientConfig> {
    let (chain, key) = credentials()?;
    let provider = provider();
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_client_auth_cert(chain, key)?;
    Ok(QuicClientConfig::try_from(tls)?)
}

fn server_config() -> Result<QuicServerConfig> {
    let (chain, key) = credentials()?;
    let provider = provider();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AcceptAny(provider)))
        .with_single_cert(chain, key)?;
    Ok(QuicServerConfig::try_from(tls)?)
}

/// Accepts every certificate whose owner has its key. Only a benchmark may: it knows who comes.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl AcceptAny {
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn refuse_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has TLS 1.3 only".to_owned()))
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for AcceptAny {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
