package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/oarlock/oarlock/raft"
)

// ServerURI is the name that a server's certificate must carry among its alternative names of type URI. A client's has
// none of the kind: a certificate that was signed for a client does not open the door of the servers.
func ServerURI(cluster raft.ClusterID) string { return "oarlock://" + cluster.String() + "/server" }

// ServerTLS reads a member's TLS files and returns the configuration for accepting other servers, for calling them, and
// for accepting clients: TLS 1.3, both sides show a certificate that the authorities have signed. Servers moreover show
// ServerURI, and those that are called the host name or address that was called. All three are nil without TLS.
func (c *Config) ServerTLS(m Member) (accept, dial, clients *tls.Config, err error) {
	if !c.TLS.Enabled() {
		return nil, nil, nil, nil
	}
	files := c.TLSFor(m)
	certificate, authorities, err := readTLS(files)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := isServer(certificate.Leaf, c.Cluster); err != nil {
		return nil, nil, nil, fmt.Errorf("config: %s: %w", files.Certificate, err)
	}
	servers := func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the other side shows no certificate")
		}
		return isServer(state.PeerCertificates[0], c.Cluster)
	}
	clients = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		RootCAs:      authorities,
		ClientCAs:    authorities,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	accept, dial = clients.Clone(), clients.Clone()
	accept.VerifyConnection, dial.VerifyConnection = servers, servers
	return accept, dial, clients, nil
}

// ClientTLS reads a client's certificate and returns the configuration for calling servers of the cluster. The names
// are used as they are. It is nil where t is empty.
func ClientTLS(t TLS) (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	certificate, authorities, err := readTLS(t)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}, RootCAs: authorities,
	}, nil
}

func readTLS(files TLS) (tls.Certificate, *x509.CertPool, error) {
	certificate, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		return certificate, nil, fmt.Errorf("config: certificate %q with key %q: %w", files.Certificate, files.Key, err)
	}
	pem, err := os.ReadFile(files.Authorities)
	if err != nil {
		return certificate, nil, fmt.Errorf("config: authorities: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return certificate, nil, fmt.Errorf("config: authorities: %s has no certificate in PEM form", files.Authorities)
	}
	return certificate, authorities, nil
}

func isServer(certificate *x509.Certificate, cluster raft.ClusterID) error {
	want := ServerURI(cluster)
	for _, uri := range certificate.URIs {
		if uri.String() == want {
			return nil
		}
	}
	return fmt.Errorf("the certificate of %q is not a server's of this cluster: it lacks the URI %s among its alternative names", certificate.Subject.CommonName, want)
}
