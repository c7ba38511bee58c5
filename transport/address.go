package transport

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// AddressChecker is a Transport that knows by looking at an address whether it can be where another server is reached. A server with
// such a transport takes no other address into a group's membership.
type AddressChecker interface {
	// CheckAddress says why an address cannot be used, in words that name it; nil: it can, though nobody may be there. It may be called
	// from any goroutine and does not wait.
	CheckAddress(address string) error
}

// HostOf returns the host of an address that is written host:port, with a port from 1 to 65535. The host may be empty. The error says
// what is wrong.
func HostOf(address string) (host string, err error) {
	if host, err = splitAddress(address); err != nil {
		return "", fmt.Errorf("%q is no address: %w; write host:port, like \"10.0.0.7:7101\"", address, err)
	}
	return host, nil
}

func splitAddress(address string) (host string, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		var text *net.AddrError
		if errors.As(err, &text) {
			return "", errors.New(text.Err)
		}
		return "", err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if strings.ContainsAny(host, " \t/") {
		return "", fmt.Errorf("%q is not a host", host)
	}
	return host, nil
}
