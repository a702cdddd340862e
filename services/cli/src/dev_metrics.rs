//! Where Prometheus finds the services of `rdev dev`: an address for each, and a file that names them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rdev_bus::access::Role;

/// From here on the kernel gives ports to outgoing connections, at any moment.
const OUTGOING_FROM: u16 = 32_768;
/// In the data directory.
const FILE: &str = "prometheus.yml";

/// Where each service answers probes and tells what it counts. Only this machine reaches them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metrics {
    gateway: SocketAddr,
    executor: SocketAddr,
    projector: SocketAddr,
}

impl Metrics {
    /// The ports behind that of the API, so that they are the same at the next start; others where
    /// somebody has those.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn behind(listen: SocketAddr) -> io::Result<Self> {
        let address = |offset| -> io::Result<SocketAddr> {
            let wanted = listen.port().checked_add(offset);
            let port = match wanted.filter(|port| is_free(*port)) {
                Some(port) => port,
                None => rdev_embedded::draw_port()?,
            };
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        };
        Ok(Self {
            gateway: address(1)?,
            executor: address(2)?,
            projector: address(3)?,
        })
    }

    /// That of one service; none of what is no service.
    pub(crate) fn of(&self, role: Role) -> Option<SocketAddr> {
        match role {
            Role::Gateway => Some(self.gateway),
            Role::Executor => Some(self.executor),
            Role::Projector => Some(self.projector),
            Role::Auditor | Role::Operator => None,
        }
    }

    /// Writes what Prometheus is to be started with, and says where that is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, data_dir: &Path) -> io::Result<PathBuf> {
        let path = data_dir.join(FILE);
        std::fs::write(&path, self.configuration())?;
        Ok(path)
    }

    fn configuration(&self) -> String {
        let job = |name: &str, address: SocketAddr| {
            format!(
                "  - job_name: rdev-{name}\n    static_configs: [{{targets: [\"{address}\"]}}]\n"
            )
        };
        format!(
            "# Made at each start: prometheus --config.file=prometheus.yml\n\
             global: {{scrape_interval: 5s}}\nscrape_configs:\n{}{}{}",
            job("gateway", self.gateway),
            job("executor", self.executor),
            job("projector", self.projector),
        )
    }
}

fn is_free(port: u16) -> bool {
    (1..OUTGOING_FROM).contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_behind_the_api_or_others() {
        // Somebody else may take one of the ports in between: then once more.
        let mut looked = 0..20;
        let (listen, metrics) = loop {
            let port = rdev_embedded::draw_port().unwrap();
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let metrics = Metrics::behind(listen).unwrap();
            let ports = [metrics.gateway, metrics.executor, metrics.projector];
            if ports.map(|at| at.port()) == [port + 1, port + 2, port + 3] {
                break (listen, metrics);
            }
            assert!(looked.next().is_some(), "{ports:?} are not behind {port}");
        };
        let _taken = TcpListener::bind(metrics.gateway).unwrap();
        let beside = Metrics::behind(listen).unwrap();
        assert_ne!(beside.gateway, metrics.gateway);
        let text = metrics.configuration();
        for role in [Role::Gateway, Role::Executor, Role::Projector] {
            let address = metrics.of(role).unwrap();
            assert!(address.ip().is_loopback());
            let target = format!("job_name: rdev-{}", role.name());
            assert!(text.contains(&target), "{text}");
            assert!(
                text.contains(&format!("targets: [\"{address}\"]")),
                "{text}"
            );
        }
    }
}
