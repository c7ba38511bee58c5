package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority signs certificates into files of a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.sign(t, name, "")
	return a
}

// sign writes name.crt and name.key; the first one becomes the authority.
func (a *authority) sign(t *testing.T, name, uri string) TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if uri != "" {
		parsed, err := url.Parse(uri)
		require.NoError(t, err)
		cert.URIs = []*url.URL{parsed}
	}
	if a.cert == nil {
		cert.IsCA, cert.BasicConstraintsValid, cert.KeyUsage = true, true, x509.KeyUsageCertSign
		a.cert, a.key = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	files := TLS{
		Certificate: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key"),
		Authorities: filepath.Join(a.dir, a.cert.Subject.CommonName+".crt"),
	}
	require.NoError(t, os.WriteFile(files.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600))
	return files
}

// meet lets two sides shake hands and returns what either says. A client learns of its refusal when it reads.
func meet(accepting, calling *tls.Config) (accepted, called error) {
	inside, outside := net.Pipe()
	calling = calling.Clone()
	calling.ServerName = "127.0.0.1"
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(inside, accepting)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte{1})
		}
		done <- err
		inside.Close()
	}()
	conn := tls.Client(outside, calling)
	called = conn.Handshake()
	if called == nil {
		_, called = conn.Read(make([]byte, 1))
	}
	outside.Close()
	return <-done, called
}

func TestOnlyServersOfTheClusterOpenTheServersDoor(t *testing.T) {
	c, err := Generate(3, "data", 7101)
	require.NoError(t, err)
	uri := ServerURI(c.Cluster)
	ca := newAuthority(t, "ca")
	ca.sign(t, "1", uri)
	ca.sign(t, "2", uri)
	client := ca.sign(t, "client", "")
	foreign := ca.sign(t, "foreign", "oarlock://0102/server")
	c.TLS = TLS{Certificate: filepath.Join(ca.dir, "{id}.crt"), Key: filepath.Join(ca.dir, "{id}.key"), Authorities: filepath.Join(ca.dir, "ca.crt")}

	accept, _, clients, err := c.ServerTLS(c.Members[0])
	require.NoError(t, err)
	_, dial, _, err := c.ServerTLS(c.Members[1])
	require.NoError(t, err)

	accepted, called := meet(accept, dial)
	require.NoError(t, accepted)
	require.NoError(t, called)

	asClient, err := ClientTLS(client)
	require.NoError(t, err)
	accepted, called = meet(clients, asClient)
	require.NoError(t, accepted)
	require.NoError(t, called)

	accepted, called = meet(accept, asClient)
	require.ErrorContains(t, accepted, "is not a server's of this cluster", "a client's certificate at the servers' door")
	require.Error(t, called)

	asForeign, err := ClientTLS(foreign)
	require.NoError(t, err)
	accepted, _ = meet(accept, asForeign)
	require.ErrorContains(t, accepted, "is not a server's of this cluster", "a server of another cluster")

	pretended, err := tls.LoadX509KeyPair(client.Certificate, client.Key)
	require.NoError(t, err)
	_, called = meet(&tls.Config{Certificates: []tls.Certificate{pretended}}, dial)
	require.ErrorContains(t, called, "is not a server's of this cluster", "a client that answers at a server's address")

	stranger := newAuthority(t, "other").sign(t, "9", uri)
	asStranger, err := ClientTLS(stranger)
	require.NoError(t, err)
	asStranger.RootCAs = dial.RootCAs
	accepted, _ = meet(accept, asStranger)
	require.Error(t, accepted, "signed by another authority")

	nobody := &tls.Config{RootCAs: dial.RootCAs}
	accepted, _ = meet(clients, nobody)
	require.Error(t, accepted, "a client without a certificate")
}

func TestTLSFilesThatCannotServeAreNamed(t *testing.T) {
	c, err := Generate(1, "data", 7101)
	require.NoError(t, err)
	accept, dial, clients, err := c.ServerTLS(c.Members[0])
	require.NoError(t, err)
	require.Nil(t, accept)
	require.Nil(t, dial)
	require.Nil(t, clients)

	ca := newAuthority(t, "ca")
	c.TLS = ca.sign(t, "client", "")
	_, _, _, err = c.ServerTLS(c.Members[0])
	require.ErrorContains(t, err, "client.crt: the certificate of \"client\" is not a server's of this cluster: it lacks the URI oarlock://")

	c.TLS.Authorities = c.TLS.Key
	_, _, _, err = c.ServerTLS(c.Members[0])
	require.ErrorContains(t, err, "has no certificate in PEM form")

	c.TLS.Key = filepath.Join(ca.dir, "none.key")
	_, _, _, err = c.ServerTLS(c.Members[0])
	require.ErrorContains(t, err, "none.key")
}
