package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/persistentlog"
)

// clientTLS are the files that a command which is a client shows and trusts.
var clientTLS config.TLS

func addTLSFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&clientTLS.Certificate, "tls-certificate", "", "a client's certificate, for a cluster with TLS")
	f.StringVar(&clientTLS.Key, "tls-key", "", "its key")
	f.StringVar(&clientTLS.Authorities, "tls-authorities", "", "the authorities that signed the servers' certificates")
}

// dialer returns how a client reaches the servers of conf: plain TCP, or TLS with the files of the flags.
func dialer(conf *config.Config) (func(context.Context, string) (net.Conn, error), error) {
	t, err := config.ClientTLS(clientTLS)
	switch {
	case err != nil:
		return nil, withCode(exitUsage, err)
	case t == nil && conf.TLS.Enabled():
		return nil, withCode(exitUsage, fmt.Errorf("%s has TLS: name a client's files with --tls-certificate, --tls-key and --tls-authorities", conf.Path()))
	case t == nil:
		return func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}, nil
	}
	d := &tls.Dialer{Config: t}
	return func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }, nil
}

// openCode says whether a server that could not be opened has a damaged store, or a config that does not fit.
func openCode(err error) int {
	if errors.Is(err, persistentlog.ErrDamaged) || errors.Is(err, persistentlog.ErrFenced) {
		return exitStorage
	}
	var mistake *config.Error
	if errors.Is(err, persistentlog.ErrNotFormatted) || errors.As(err, &mistake) {
		return exitUsage
	}
	return exitFailed
}
