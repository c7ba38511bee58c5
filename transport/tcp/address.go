package tcp

import (
	"errors"
	"fmt"
	"net"

	"github.com/oarlock/oarlock/transport"
)

// CheckAddress says why an address cannot be where other servers reach one; nil: it can. It is host:port, with a host that can be
// dialled from elsewhere.
func CheckAddress(address string) error {
	host, err := transport.HostOf(address)
	switch {
	case err != nil:
		return err
	case nowhere(host):
		return fmt.Errorf("%q is not where other servers can reach it; write the host that they dial, like \"10.0.0.7:7101\"", address)
	}
	return checkLength(address)
}

// nowhere reports whether a host can be listened on, and not dialled from elsewhere.
func nowhere(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func checkLength(address string) error {
	if len(address) > transport.AddressBytesMax {
		return fmt.Errorf("an address of %d bytes, and %d are the most", len(address), transport.AddressBytesMax)
	}
	return nil
}

// CheckAddress implements transport.AddressChecker. Where Options.Dial is set it is for that function to say what an address looks
// like: then any will do, but none at all.
func (t *Transport) CheckAddress(address string) error {
	switch {
	case !t.foreign:
		return CheckAddress(address)
	case address == "":
		return errors.New("there is no address")
	}
	return checkLength(address)
}
