//! Names of quinn-proto for tests that drive its endpoints, or stand between them and TLS.

pub(crate) use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionError, ConnectionHandle, ConnectionId,
    DatagramEvent, Endpoint, EndpointConfig, Event, ServerConfig, Side, TransportError,
    TransportErrorCode, transport_parameters::TransportParameters,
};
