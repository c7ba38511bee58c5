package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"github.com/oarlock/oarlock/raft"
)

func exampleRequests() []ClientRequest {
	return []ClientRequest{
		{ID: 1, Method: MethodHello, Version: 1},
		{ID: 2, Method: MethodHello, Version: 1, Cluster: raft.ClusterID{0: 0xc0, 15: 0x0f}},
		{ID: 3, Method: MethodSessionOpen, Group: 1},
		{ID: 4, Method: MethodPropose, Group: 1, Session: 77, Sequence: 5, Floor: 3, Body: []byte("set x 1")},
		{ID: 1<<32 - 1, Method: MethodPropose, Group: 1 << 40, Session: 1<<64 - 1, Sequence: 1 << 20, Floor: 300, Body: make([]byte, 300)},
		{ID: 5, Method: MethodQuery, Group: 1, Body: []byte("get x")},
		{ID: 6, Method: MethodQuery, Group: 1, Body: []byte{}, Consistency: raft.Consistency{Level: raft.Stale}},
		{ID: 14, Method: MethodPropose, Group: 1, Session: 77, Sequence: 6, Floor: 3, Body: []byte("set x 2"), Indexed: true},
		{ID: 15, Method: MethodQuery, Group: 1, Body: []byte("get x"), Indexed: true},
		{ID: 16, Method: MethodQuery, Group: 1, Body: []byte("get x"), Indexed: true, Any: true, Consistency: raft.Consistency{Level: raft.Lease}},
		{
			ID: 17, Method: MethodQuery, Group: 1, Body: []byte("get x"), Indexed: true, Any: true,
			Consistency: raft.Consistency{Level: raft.Bounded, MaxAge: 1<<63 - 1, MinIndex: 1<<64 - 1},
		},
		{ID: 7, Method: MethodSessionKeep, Group: 1, Session: 77},
		{ID: 8, Method: MethodSessionClose, Group: 1, Session: 77},
		{ID: 9, Method: MethodBarrier, Group: 1},
		{ID: 10, Method: MethodStatus},
		{ID: 11, Method: MethodStatus, Group: 200},
		{ID: 12, Method: MethodMembers, Group: 1},
		{ID: 13, Method: MethodPing},
		{ID: 14, Method: MethodTransferLeadership, Group: 1, To: 2},
		{ID: 15, Method: MethodStepDown, Group: 1},
		exampleChange(16, MethodChangeMembership), exampleChange(17, MethodPlanMembership),
		{Notification: true, Method: MethodPing},
	}
}

func exampleChange(id uint32, method Method) ClientRequest {
	change := raft.MembershipChange{From: 1 << 33, Forced: true, Changes: []raft.Change{
		{Kind: raft.ChangeAddVoter, Member: raft.Member{ID: 4, Store: raft.StoreID{15: 4}, Address: "four.example:7400"}},
		{Kind: raft.ChangeRemove, Member: raft.Member{ID: 1}},
	}}
	return ClientRequest{ID: id, Method: method, Group: 1, Body: AppendClientChange(nil, change), Change: &change}
}

func exampleErrors() []error {
	return []error{
		&NotLeaderError{}, &NotLeaderError{Leader: 2}, &NotLeaderError{Leader: 2, Address: "two.example:7400"},
		fmt.Errorf("%w: disk gone", ErrFenced), fmt.Errorf("%w: %w", ErrUnknown, ErrFenced), ErrSessionExpired,
		fmt.Errorf("%w: %s", ErrQuery, strings.Repeat("no ", 20)), errors.New("nobody foresaw this"),
	}
}

func TestClientBytesStayAsTheyAre(t *testing.T) {
	var cases []goldenCase
	for _, r := range exampleRequests() {
		name := fmt.Sprintf("request %s id %d group %d session %d", r.Method, r.ID, r.Group, r.Session)
		cases = append(cases, goldenCase{name, AppendClientRequest(nil, &r)})
	}
	value := func(v any) []byte {
		b, err := AppendClientValue(nil, 9, v)
		require.NoError(t, err)
		return b
	}
	cases = append(cases,
		goldenCase{"response indexed", AppendClientIndexed(nil, 9, 300, []byte("one"))},
		goldenCase{"response error indexed", AppendClientErrorAt(nil, 9, 300, ErrResultTooLarge)},
		goldenCase{"response bytes", AppendClientBytes(nil, 9, []byte("one"))},
		goldenCase{"response no bytes", AppendClientBytes(nil, 9, nil)},
		goldenCase{"response true", AppendClientTrue(nil, 9)},
		goldenCase{"response session", AppendClientSession(nil, 9, ClientSession{77, 3_600_000_000_000, 256})},
		goldenCase{"response hello", value(ClientHello{Version: 1, Cluster: make([]byte, 16), Server: 2, RequestBytesMax: 1 << 22, CommandBytesMax: 1 << 21, OutstandingMax: 1024})},
		goldenCase{"response status", value(ClientStatus{Server: 2, Groups: []ClientGroup{{Group: 1, Role: "leader", Term: 3, Leader: 2, LeaderAddress: "two.example:7400", First: 1, Next: 9, Commit: 8, Applied: 8, Born: true}}})},
		goldenCase{"response members", value(ClientMembershipOf(raft.MembershipAt{Index: 7, Membership: exampleMembership()}))},
		goldenCase{"notice", AppendClientNotice(nil, ErrMalformed)},
	)
	for _, err := range exampleErrors() {
		cases = append(cases, goldenCase{"response error " + err.Error(), AppendClientError(nil, 9, err)})
	}
	compareGolden(t, "client.golden", cases)
}

func TestRequestComesBackAsItWas(t *testing.T) {
	for _, want := range exampleRequests() {
		raw := AppendClientRequest(nil, &want)
		got, answerable, err := ParseClientRequest(raw)
		require.NoError(t, err)
		require.True(t, answerable)
		require.Equal(t, want, got)
	}
}

// A foreign library may write the same request in other forms of the same types.
func TestRequestIsReadInEveryFormThatTheSpecificationAllows(t *testing.T) {
	want := ClientRequest{ID: 4, Method: MethodPropose, Group: 1, Session: 7, Sequence: 5, Floor: 3, Body: []byte("abc")}
	forms := map[string]string{
		"wide integers, bin 32": "\xdc\x00\x04\xd0\x00\xcf\x00\x00\x00\x00\x00\x00\x00\x04\xd9\x07propose" +
			"\xdd\x00\x00\x00\x05\xcd\x00\x01\xd1\x00\x07\xd2\x00\x00\x00\x05\xd3\x00\x00\x00\x00\x00\x00\x00\x03\xc6\x00\x00\x00\x03abc",
		"method as bin, command as str": "\x94\x00\x04\xc4\x07propose\x95\x01\x07\x05\x03\xa3abc",
	}
	for name, raw := range forms {
		r := NewClientReader(strings.NewReader(raw), 1000, true)
		require.NoError(t, r.Fill(), name)
		message, err := r.Buffered()
		require.NoError(t, err, name)
		require.Len(t, message, len(raw), name)
		got, _, err := ParseClientRequest(message)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
}

func TestMalformedRequestIsAnsweredWhereItsEnvelopeCanBeRead(t *testing.T) {
	encode := func(v ...any) []byte {
		b, err := msgpack.Marshal(v)
		require.NoError(t, err)
		return b
	}
	cases := []struct {
		raw        []byte
		answerable bool
		text       string
	}{
		{encode(0, 7, "propose", []any{1, 2, 3, 4}), true, "5 parameters"},
		{encode(0, 7, "propose", []any{1, 2, 3, 4, []byte("x"), 6}), true, "wrong type"},
		{encode(0, 7, "propose", []any{1, 2, 3, 4, []byte("x"), false}), true, "sixth parameter"},
		{encode(0, 7, "propose", []any{1, 2, 3, 4, []byte("x"), true, 7}), true, "5 parameters"},
		{encode(0, 7, "propose", []any{1, 2, 3, 4, nil}), true, "wrong type"},
		{encode(0, 7, "propose", []any{-1, 2, 3, 4, []byte("x")}), true, "wrong type"},
		{encode(0, 7, "propose", 5), true, "5 parameters"},
		{encode(0, 7, "destroy", []any{}), true, "no method"},
		{encode(0, 7, 8, []any{}), true, "named by a string"},
		{encode(0, 7, "hello", []any{1, []byte("short")}), true, "16 bytes"},
		{encode(0, 7, "query", []any{1, []byte("q"), 2}), true, "consistency"},
		{encode(0, 7, "query", []any{1, []byte("q"), []any{0, 0, 0}}), true, "4 elements"},
		{encode(0, 7, "query", []any{1, []byte("q"), []any{0, 0, 0, 1}}), true, "wrong type"},
		{encode(0, 7, "query", []any{1, []byte("q"), []any{4, 0, 0, true}}), true, "level-4"},
		{encode(0, 7, "query", []any{1, []byte("q"), []any{256, 0, 0, true}}), true, "level 256"},
		{encode(0, 7, "query", []any{1, []byte("q"), []any{3, 0, 0, true}}), true, "neither"},
		{encode(0, 7, "query", []any{1, []byte("q"), []any{0, 5, 0, true}}), true, "belong to bounded"},
		{encode(0, 7, "query", []any{1, []byte("q"), []any{3, uint64(1) << 63, 0, true}}), true, "age"},
		{encode(0, 1<<40, "ping", []any{}), false, "32 bits"},
		{encode(0, -1, "ping", []any{}), false, "32 bits"},
		{encode(1, 7, nil, true), false, "[0, id, method, params]"},
		{encode(0, 7, "ping"), false, "[0, id, method, params]"},
		{encode(), false, "[0, id, method, params]"},
	}
	for _, c := range cases {
		r, answerable, err := ParseClientRequest(c.raw)
		require.ErrorIs(t, err, ErrMalformed)
		require.ErrorContains(t, err, c.text)
		require.Equal(t, c.answerable, answerable, c.text)
		if answerable {
			require.EqualValues(t, 7, r.ID)
		}
	}
}

func TestErrorKeepsItsMeaningOverTheWire(t *testing.T) {
	for _, want := range exampleErrors() {
		r, err := ParseClientResponse(AppendClientError(nil, 9, want))
		require.NoError(t, err)
		require.EqualValues(t, 9, r.ID)
		require.Equal(t, ClassOf(want), ClassOf(r.Err))
		require.Equal(t, CodeOf(want), CodeOf(r.Err))
		var hint, got *NotLeaderError
		if errors.As(want, &hint) {
			require.ErrorAs(t, r.Err, &got)
			require.Equal(t, hint, got)
		} else {
			require.ErrorContains(t, r.Err, want.Error())
		}
	}
	for _, s := range sentinels {
		r, err := ParseClientResponse(AppendClientError(nil, 1, fmt.Errorf("why: %w", s.err)))
		require.NoError(t, err)
		require.ErrorIs(t, r.Err, s.err)
		require.Equal(t, s.code, CodeOf(r.Err))
	}
}

// A refusal that comes with an unknown outcome must not hide it, in whichever order the two were joined.
func TestUnknownIsNeverHiddenByAnotherError(t *testing.T) {
	for _, s := range sentinels {
		require.Equal(t, ClassUnknown, ClassOf(errors.Join(s.err, ErrUnknown)))
	}
	require.Equal(t, ClassUnknown, ClassOf(errors.New("anything else")))
	require.Equal(t, ClassUnknown, ClassOf(&RemoteError{Code: 250}))
	require.Equal(t, ClassRefused, ClassOf(&RemoteError{Code: 150}))
	require.Equal(t, ClassUsage, ClassOf(&RemoteError{Code: 350}))
	require.Equal(t, ClassUnknown, ClassOf(&RemoteError{Code: 999}))
}

func TestErrorThatIsAnAnswerHasItsIndex(t *testing.T) {
	r, err := ParseClientResponse(AppendClientErrorAt(nil, 1, 1<<40, ErrResultTooLarge))
	require.NoError(t, err)
	require.ErrorIs(t, r.Err, ErrResultTooLarge)
	require.EqualValues(t, 1<<40, r.Index)
	r, err = ParseClientResponse(AppendClientErrorAt(nil, 1, 9, fmt.Errorf("%w: 5 bytes", ErrAnswerTooLarge)))
	require.NoError(t, err)
	require.ErrorIs(t, r.Err, ErrResultTooLarge)
	require.EqualError(t, r.Err, "oarlock: the query's answer is too large: 5 bytes", "a query applies nothing")
	require.EqualValues(t, 9, r.Index)
	r, err = ParseClientResponse(AppendClientErrorAt(nil, 1, 7, ErrBusy)) // which answers nothing
	require.NoError(t, err)
	require.ErrorIs(t, r.Err, ErrBusy)
	require.Zero(t, r.Index)
}

func TestResultsComeBackAsTheyWere(t *testing.T) {
	parse := func(raw []byte) *ClientResponse {
		r, err := ParseClientResponse(raw)
		require.NoError(t, err)
		require.NoError(t, r.Err)
		return &r
	}
	b, err := parse(AppendClientBytes(nil, 1, []byte("abc"))).ClientBytes()
	require.NoError(t, err)
	require.Equal(t, "abc", string(b))
	index, b, err := parse(AppendClientIndexed(nil, 1, 1<<40, []byte("abc"))).ClientIndexed()
	require.NoError(t, err)
	require.EqualValues(t, 1<<40, index)
	require.Equal(t, "abc", string(b))
	_, _, err = parse(AppendClientBytes(nil, 1, []byte("abc"))).ClientIndexed()
	require.ErrorIs(t, err, ErrMalformed)
	session, err := parse(AppendClientSession(nil, 1, ClientSession{77, 5, 16})).ClientSession()
	require.NoError(t, err)
	require.Equal(t, ClientSession{77, 5, 16}, session)
	_, err = parse(AppendClientTrue(nil, 1)).ClientBytes()
	require.ErrorIs(t, err, ErrMalformed)
	_, err = parse(AppendClientTrue(nil, 1)).ClientSession()
	require.ErrorIs(t, err, ErrMalformed)

	want := ClientStatus{Server: 2, Groups: []ClientGroup{{Group: 1, Role: "leader", Missing: []uint64{3}}}}
	raw, err := AppendClientValue(nil, 1, want)
	require.NoError(t, err)
	var got ClientStatus
	require.NoError(t, parse(raw).ClientValue(&got))
	require.Equal(t, want, got)
}

func TestReaderCutsAStreamTheSameHoweverItArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []ClientRequest
		for range rapid.IntRange(0, 20).Draw(t, "requests") {
			r := rapid.SampledFrom(exampleRequests()).Draw(t, "request")
			if r.Method == MethodPropose {
				r.Body = bytes.Repeat([]byte{0x94}, rapid.IntRange(0, 20_000).Draw(t, "size"))
			}
			want = append(want, r)
			stream = AppendClientRequest(stream, &r)
		}
		sizes := rapid.SliceOfN(rapid.IntRange(1, 9000), 1, 10).Draw(t, "reads")
		keep := rapid.Bool().Draw(t, "keep")
		r := NewClientReader(&pieces{b: stream, sizes: sizes}, 1<<20, keep)
		var got []ClientRequest
		for {
			raw, err := r.Buffered()
			if err != nil {
				t.Fatal(err)
			}
			if raw == nil {
				if err := r.Fill(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				continue
			}
			request, _, err := ParseClientRequest(raw)
			if err != nil {
				t.Fatal(err)
			}
			request.Body = r.Keep(request.Body)
			got = append(got, request)
		}
		require.Len(t, got, len(want))
		for i := range want {
			require.True(t, bytes.Equal(want[i].Body, got[i].Body))
			want[i].Body, got[i].Body = nil, nil
			require.Equal(t, want[i], got[i])
		}
	})
}

// pieces is a connection whose reads come in the given sizes, over and over.
type pieces struct {
	b     []byte
	sizes []int
	n     int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.sizes[p.n%len(p.sizes)])], p.b)
	p.b, p.n = p.b[n:], p.n+1
	return n, nil
}

func TestReaderRefusesAClaimBeforeItsBytesArrive(t *testing.T) {
	claims := map[string]error{
		"\x94\x00\x01\xa7propose\x95\x01\x01\x01\x01\xc6\xff\xff\xff\xff": ErrTooLarge,
		"\x94\x00\x01\xdb\xff\xff\xff\xff":                                ErrTooLarge,
		"\x94\x00\x01\xa4ping\xdd\xff\xff\xff\xff":                        ErrTooLarge,
		"\x94\x00\x01\xa4ping\xdf\xff\xff\xff\xff":                        ErrTooLarge,
		"\x94\x00\x01\xc9\xff\xff\xff\xff\x00":                            ErrTooLarge,
		"\x91\x91\x91\x91\x91\x91\x91\x91\x91\x90":                        ErrMalformed,
		"\x94\xc1":           ErrMalformed,
		"GET / HTTP/1.1\r\n": ErrMalformed,
		"\x16\x03\x01":       ErrMalformed,
		"\xc1":               ErrMalformed,
	}
	for claim, want := range claims {
		r := NewClientReader(iotest.OneByteReader(io.MultiReader(strings.NewReader(claim), iotest.ErrReader(errors.New("read on")))), 1<<20, true)
		var err error
		for err == nil {
			if _, err = r.Buffered(); err == nil {
				err = r.Fill()
			}
		}
		require.ErrorIs(t, err, want, "%x", claim)
		require.LessOrEqual(t, cap(r.buf), clientChunkMax)
		_, again := r.Buffered()
		require.Equal(t, err, again)
	}
	id, ok := ClientRequestID([]byte("\x94\x00\x05\xa7propose\x95\x01\x01\x01\x01\xc6\xff\xff\xff\xff"))
	require.True(t, ok)
	require.EqualValues(t, 5, id)
}

func TestReaderHoldsNoMoreThanTwiceWhatArrived(t *testing.T) {
	claim := "\x94\x00\x01\xa7propose\x95\x01\x01\x01\x01\xc6\x00\x10\x00\x00"
	r := NewClientReader(io.MultiReader(strings.NewReader(claim), bytes.NewReader(make([]byte, 100_000))), 2<<20, true)
	for {
		_, err := r.Buffered()
		require.NoError(t, err)
		if err := r.Fill(); err != nil {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			break
		}
		require.LessOrEqual(t, cap(r.buf), max(clientChunkMax, 4*r.Partial()))
	}
}

// A message that trickles in is scanned once, not once a byte: a million empty values cost a million steps.
func TestTrickledMessageIsScannedOnce(t *testing.T) {
	raw := append([]byte("\x94\x00\x01\xa4ping\xdd\x00\x0f\x00\x00"), bytes.Repeat([]byte{rpcNil}, 0xf0000)...)
	var s rpcScan
	for n := range raw {
		before := s.pos
		done, err := s.advance(raw[:n+1], 1<<20)
		require.NoError(t, err)
		require.Equal(t, n+1 == len(raw), done)
		if s.pos < before {
			t.Fatal("scanned again")
		}
	}
}

func TestHotRequestsAndResponsesAllocateNothing(t *testing.T) {
	request := exampleRequests()[3]
	raw := AppendClientRequest(nil, &request)
	answer := AppendClientBytes(nil, 4, []byte("one"))
	buf := make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		buf = AppendClientRequest(buf[:0], &request)
		if _, _, err := ParseClientRequest(raw); err != nil {
			t.Fatal(err)
		}
		buf = AppendClientBytes(buf[:0], 4, request.Body)
		r, err := ParseClientResponse(answer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.ClientBytes(); err != nil {
			t.Fatal(err)
		}
	}))
}

func FuzzClientRequest(f *testing.F) {
	for _, r := range exampleRequests() {
		f.Add(AppendClientRequest(nil, &r))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := NewClientReader(bytes.NewReader(raw), 1<<16, true)
		for {
			message, err := r.Buffered()
			if err != nil {
				return
			}
			if message == nil {
				if r.Fill() != nil {
					return
				}
				continue
			}
			request, _, err := ParseClientRequest(message)
			if err != nil {
				require.ErrorIs(t, err, ErrMalformed)
				continue
			}
			again, _, err := ParseClientRequest(AppendClientRequest(nil, &request))
			require.NoError(t, err)
			require.Equal(t, request, again)
		}
	})
}

func FuzzClientResponse(f *testing.F) {
	f.Add(AppendClientBytes(nil, 9, []byte("one")))
	f.Add(AppendClientSession(nil, 9, ClientSession{77, 5, 256}))
	f.Add(AppendClientNotice(nil, ErrMalformed))
	for _, err := range exampleErrors() {
		f.Add(AppendClientError(nil, 9, err))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseClientResponse(raw)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		if r.Err != nil {
			_ = r.Err.Error()
			_ = ClassOf(r.Err)
		}
		_, _ = r.ClientBytes()
		_, _ = r.ClientSession()
		var status ClientStatus
		_ = r.ClientValue(&status)
	})
}
