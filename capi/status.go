package main

/*
#include "internal.h"
*/
import "C"

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

//export oargo_server_group_info
func oargo_server_group_info(h C.uintptr_t, group C.uint64_t, out *C.oar_group_info) (status C.oar_status) {
	defer caught(&status)
	s, err := serverOf(h).running()
	if err != nil {
		return fail(err, C.OAR_ERR_ORDER)
	}
	st, ok := s.GroupStatus(raft.GroupID(group))
	if !ok {
		return fail(fmt.Errorf("%w: %d", server.ErrNoGroup, group), C.OAR_ERR_NO_GROUP)
	}
	*out = C.oar_group_info{
		struct_size: out.struct_size, role: roleNumber(st.Role), group: group, term: C.uint64_t(st.Term), leader: C.uint64_t(st.Leader),
		commit_index: C.uint64_t(st.Commit), applied_index: C.uint64_t(st.Applied), last_index: C.uint64_t(max(st.Next, 1) - 1),
		snapshot_index: C.uint64_t(st.Snapshot), sessions: C.uint64_t(max(st.Sessions, 0)), commands: C.uint64_t(st.Commands),
		fenced: flag(st.Fenced != nil), refused: flag(st.Refusal != ""),
		voters: C.uint32_t(len(st.Membership.Voters)), learners: C.uint32_t(len(st.Membership.Learners)),
		membership_index: C.uint64_t(st.MembershipIndex), successor: C.uint64_t(st.Successor), flags: groupFlags(&st),
		priority: C.uint32_t(st.Priority),
	}
	return C.OAR_OK
}

func groupFlags(st *server.GroupStatus) (flags C.uint32_t) {
	for _, one := range []struct {
		holds bool
		bit   C.uint32_t
	}{
		{st.Membership.Changing(), C.OAR_GROUP_CHANGING},
		{st.Removed, C.OAR_GROUP_REMOVED},
		{st.Transferring, C.OAR_GROUP_TRANSFERRING},
		{st.Lease, C.OAR_GROUP_LEASE},
		{st.StorageHung, C.OAR_GROUP_STORAGE_HUNG},
	} {
		if one.holds {
			flags |= one.bit
		}
	}
	return flags
}

//export oargo_server_identity
func oargo_server_identity(h C.uintptr_t, out *C.oar_identity) (status C.oar_status) {
	defer caught(&status)
	s, err := serverOf(h).running()
	if err != nil {
		return fail(err, C.OAR_ERR_ORDER)
	}
	who := s.Status().Identity
	out.server = C.uint64_t(who.Server)
	for i, b := range who.Cluster {
		out.cluster[i] = C.uchar(b)
	}
	for i, b := range who.Store {
		out.store[i] = C.uchar(b)
	}
	return C.OAR_OK
}

func flag(b bool) C.uint32_t {
	if b {
		return 1
	}
	return 0
}

//export oargo_server_status_json
func oargo_server_status_json(h C.uintptr_t, out **C.char) (status C.oar_status) {
	defer caught(&status)
	s, err := serverOf(h).running()
	if err != nil {
		return fail(err, C.OAR_ERR_ORDER)
	}
	text, err := json.Marshal(snakes(s.Status()))
	if err == nil {
		*out = C.CString(string(text))
	}
	return fail(err, C.OAR_ERR_INTERNAL)
}

// snakes makes of a status what JSON shows: keys in snake_case, errors and names as text, ids of many bytes in hex, durations
// in nanoseconds. Whatever the Go side knows is in it, without a list that could lag behind.
func snakes(value any) any { return snake(reflect.ValueOf(value)) }

func snake(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	if v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		if err, ok := v.Interface().(error); ok {
			return err.Error()
		}
		return snake(v.Elem())
	}
	// Roles and states are small numbers with a name; terms, indexes and server ids are numbers.
	if text, ok := v.Interface().(fmt.Stringer); ok && (v.Kind() == reflect.Uint8 || v.Kind() == reflect.Array) {
		return text.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		m := make(map[string]any, v.NumField())
		fields(v, m)
		return m
	case reflect.Slice, reflect.Array:
		return list(v)
	case reflect.Map:
		m := make(map[string]any, v.Len())
		for _, k := range v.MapKeys() {
			m[fmt.Sprint(k.Interface())] = snake(v.MapIndex(k))
		}
		return m
	default:
		return v.Interface()
	}
}

func fields(v reflect.Value, m map[string]any) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			fields(v.Field(i), m)
		case f.IsExported():
			m[snakeName(f.Name)] = snake(v.Field(i))
		}
	}
}

func list(v reflect.Value) any {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return hex.EncodeToString(b)
	}
	all := make([]any, v.Len())
	for i := range all {
		all[i] = snake(v.Index(i))
	}
	return all
}

// snakeName turns QueuedBytesMax into queued_bytes_max, and ID into id.
func snakeName(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		lowerBefore := i > 0 && !unicode.IsUpper(runes[i-1])
		lowerAfter := i > 0 && i+1 < len(runes) && !unicode.IsUpper(runes[i+1])
		if unicode.IsUpper(r) && (lowerBefore || lowerAfter) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
