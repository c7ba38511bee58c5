package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

func identity(server raft.ServerID) PeerIdentity {
	return PeerIdentity{
		Cluster: raft.ClusterID{0: 0xc1, 15: 9}, Server: server, Store: raft.StoreID{0: 0xa0, 15: byte(server)},
		Run: raft.RunID(server) << 40, FrameBytesMax: 8 << 20, BlockBytesMax: 4 << 20,
	}
}

func exampleHello() Hello {
	return Hello{
		VersionMin: 1, VersionMax: 3, Lane: LaneEntries, From: identity(2), To: 1, ToStore: identity(1).Store, Address: "two.example:7000",
		ClientAddress: "two.example:7500",
	}
}

// one reads the only frame in b.
func one(t require.TestingT, b []byte) Frame {
	f, err := NewFrameReader(bytes.NewReader(b), HandshakeBytesMax).Next()
	require.NoError(t, err)
	require.Equal(t, len(b), f.Size())
	return f
}

func TestHandshakeKeepsItsBytes(t *testing.T) {
	compareGolden(t, "handshake.golden", []goldenCase{
		{"magic and hello", AppendHello(nil, exampleHello())},
		{"welcome", AppendWelcome(nil, Welcome{Version: 1, From: identity(1)})},
		{"refusal", AppendRefused(nil, &Refused{Code: RefusedCluster, Reason: "another cluster"})},
		{"keepalive", AppendKeepalive(nil)},
	})
}

func TestHandshakeReadsBackAsItWas(t *testing.T) {
	hello, ok := strings.CutPrefix(string(AppendHello(nil, exampleHello())), PeerMagic)
	require.True(t, ok)
	got, err := DecodeHello(one(t, []byte(hello)))
	require.NoError(t, err)
	require.Equal(t, exampleHello(), got)

	w := Welcome{Version: 1, From: identity(1)}
	welcome, err := DecodeAnswer(one(t, AppendWelcome(nil, w)))
	require.NoError(t, err)
	require.Equal(t, w, welcome)

	_, err = DecodeAnswer(one(t, AppendRefused(nil, &Refused{Code: RefusedBusy, Reason: strings.Repeat("full ", 1000)})))
	var refused *Refused
	require.ErrorAs(t, err, &refused)
	require.Equal(t, RefusedBusy, refused.Code)
	require.Len(t, refused.Reason, refusalReasonBytesMax)
}

func TestHandshakeOfALaterVersionMayBeLonger(t *testing.T) {
	whole := AppendHello(nil, exampleHello())[len(PeerMagic)+FrameHeaderSize:]
	grown := append(append([]byte{0x90 | helloValues + 2}, whole[1:]...), 0x01, 0xa1, 'x')
	h, err := DecodeHello(Frame{Type: FrameHello, Head: grown})
	require.NoError(t, err)
	require.Equal(t, exampleHello(), h)
}

func TestHandshakeRefusesWhoDoesNotBelong(t *testing.T) {
	local := identity(1)
	version, err := Accept(local, exampleHello())
	require.NoError(t, err)
	require.EqualValues(t, 1, version)
	require.NoError(t, Agree(identity(2), 1, raft.StoreID{}, Welcome{Version: 1, From: local}))

	cases := []struct {
		name  string
		code  RefusalCode
		spoil func(*Hello)
	}{
		{"newer versions only", RefusedVersion, func(h *Hello) { h.VersionMin = 2 }},
		{"another receiver", RefusedServer, func(h *Hello) { h.To = 7 }},
		{"another store", RefusedStore, func(h *Hello) { h.ToStore[4] = 1 }},
		{"our own id, and no store named", RefusedServer, func(h *Hello) { h.From.Server, h.ToStore = 1, raft.StoreID{} }},
		{"our own id and store", RefusedServer, func(h *Hello) { h.From = identity(1) }},
		{"no id", RefusedServer, func(h *Hello) { h.From.Server = 0 }},
		{"another cluster", RefusedCluster, func(h *Hello) { h.From.Cluster[3] = 1 }},
		{"blocks larger than our frames", RefusedLimits, func(h *Hello) { h.From.BlockBytesMax = 8<<20 - FrameOverheadMax + 1 }},
		{"frames smaller than our blocks", RefusedLimits, func(h *Hello) { h.From.FrameBytesMax = 4<<20 + FrameOverheadMax - 1 }},
	}
	for _, c := range cases {
		h := exampleHello()
		c.spoil(&h)
		_, err := Accept(local, h)
		require.ErrorIs(t, err, &Refused{Code: c.code}, c.name)
		require.False(t, errors.Is(err, &Refused{Code: RefusedBusy}))
		if c.code != RefusedVersion && c.name != "another receiver" && c.name != "another store" {
			err = Agree(local, h.From.Server, raft.StoreID{}, Welcome{Version: 1, From: h.From})
			require.ErrorIs(t, err, &Refused{Code: c.code}, c.name)
		}
	}
	require.ErrorIs(t, Agree(local, 3, raft.StoreID{}, Welcome{Version: 1, From: identity(2)}), &Refused{Code: RefusedServer})
	require.ErrorIs(t, Agree(local, 2, raft.StoreID{}, Welcome{Version: 2, From: identity(2)}), &Refused{Code: RefusedVersion})
	require.ErrorIs(t, Agree(local, 2, identity(3).Store, Welcome{Version: 1, From: identity(2)}), &Refused{Code: RefusedStore})
}

// While a server with another store takes the place of one with the same id, the two may need each other.
func TestServersWithOneIDTalkIfThatIsMeant(t *testing.T) {
	local, other := identity(1), identity(1)
	other.Store = raft.StoreID{0: 0xa1}
	h := exampleHello()
	h.From = other
	_, err := Accept(local, h)
	require.NoError(t, err)
	require.NoError(t, Agree(other, 1, local.Store, Welcome{Version: 1, From: local}))
	require.ErrorIs(t, Agree(other, 1, raft.StoreID{}, Welcome{Version: 1, From: local}), &Refused{Code: RefusedServer})
	require.ErrorIs(t, Agree(local, 1, local.Store, Welcome{Version: 1, From: local}), &Refused{Code: RefusedServer})
}

// Programs of before say neither which store they want nor where they are.
func TestHelloOfTenValuesIsRead(t *testing.T) {
	want := exampleHello()
	want.ToStore, want.Address, want.ClientAddress = raft.StoreID{}, "", ""
	head := AppendHello(nil, want)[len(PeerMagic)+FrameHeaderSize:]
	short := append([]byte{0x90 | helloValuesLeast}, head[1:len(head)-2-18]...)
	h, err := DecodeHello(Frame{Type: FrameHello, Head: short})
	require.NoError(t, err)
	require.Equal(t, want, h)
}

func TestAddressThatIsTooLongIsNotClaimed(t *testing.T) {
	h := exampleHello()
	h.Address = strings.Repeat("a", AddressBytesMax)
	got, err := DecodeHello(one(t, AppendHello(nil, h)[len(PeerMagic):]))
	require.NoError(t, err)
	require.Equal(t, h, got)
	h.Address += "a"
	got, err = DecodeHello(one(t, AppendHello(nil, h)[len(PeerMagic):]))
	require.NoError(t, err)
	require.Empty(t, got.Address)
}

func TestLimitsAtTheEdgeFit(t *testing.T) {
	h := exampleHello()
	h.From.BlockBytesMax = 8<<20 - FrameOverheadMax
	h.From.FrameBytesMax = 4<<20 + FrameOverheadMax
	_, err := Accept(identity(1), h)
	require.NoError(t, err)
}

func TestPeerMagicCannotBeginARequestOfAClient(t *testing.T) {
	first := PeerMagic[0]
	require.False(t, first&0xf0 == 0x90 || first == 0xdc || first == 0xdd, "begins a MessagePack array")
	require.False(t, 'A' <= first && first <= 'Z', "begins an HTTP method")
	require.NotEqual(t, byte(0x16), first, "begins a TLS handshake")
}

func FuzzHandshake(f *testing.F) {
	f.Add(AppendHello(nil, exampleHello())[len(PeerMagic):])
	f.Add(AppendWelcome(nil, Welcome{Version: 1, From: identity(1)}))
	f.Add(AppendRefused(nil, &Refused{Code: RefusedCluster, Reason: "another cluster"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, head := range [][]byte{b, b[min(len(b), FrameHeaderSize):]} {
			for _, typ := range []FrameType{FrameHello, FrameWelcome, FrameRefusal} {
				frame := Frame{Type: typ, Head: head}
				if h, err := DecodeHello(frame); err != nil {
					require.ErrorIs(t, err, ErrMalformed)
				} else {
					again, err := DecodeHello(one(t, AppendHello(nil, h)[len(PeerMagic):]))
					require.NoError(t, err)
					require.Equal(t, h, again)
				}
				var refused *Refused
				if _, err := DecodeAnswer(frame); err != nil && !errors.As(err, &refused) {
					require.ErrorIs(t, err, ErrMalformed)
				}
			}
		}
		if _, err := NewFrameReader(bytes.NewReader(b), HandshakeBytesMax).Next(); err != nil &&
			!errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			require.ErrorIs(t, err, ErrMalformed)
		}
	})
}
