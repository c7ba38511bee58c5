package main

/*
#include "internal.h"
*/
import "C"

import (
	"runtime/cgo"
	"strings"
	"sync"
	"unsafe"

	"github.com/oarlock/oarlock/config"
)

// configBox is a configuration that several threads may use.
type configBox struct {
	mu     sync.Mutex
	config *config.Config
}

func configOf(h C.uintptr_t) *configBox { return cgo.Handle(h).Value().(*configBox) }

func newConfig(c *config.Config, err error, out *C.uintptr_t) C.oar_status {
	if err != nil {
		return fail(err, C.OAR_ERR_CONFIG)
	}
	*out = C.uintptr_t(cgo.NewHandle(&configBox{config: c}))
	return C.OAR_OK
}

//export oargo_config_new
func oargo_config_new(out *C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	return newConfig(config.Default(), nil, out)
}

//export oargo_config_load
func oargo_config_load(path *C.char, out *C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	c, err := config.Load(C.GoString(path))
	return newConfig(c, err, out)
}

//export oargo_config_parse
func oargo_config_parse(text *C.char, n C.size_t, path *C.char, out *C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	c, err := config.Parse(C.GoString(path), C.GoBytes(unsafe.Pointer(text), C.int(n)))
	return newConfig(c, err, out)
}

//export oargo_config_generate
func oargo_config_generate(members C.uint32_t, dir *C.char, port C.uint16_t, out *C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	c, err := config.Generate(int(members), C.GoString(dir), int(port))
	return newConfig(c, err, out)
}

//export oargo_config_set
func oargo_config_set(h C.uintptr_t, key, value *C.char) (status C.oar_status) {
	defer caught(&status)
	b := configOf(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	return fail(b.config.Set(C.GoString(key), C.GoString(value)), C.OAR_ERR_CONFIG)
}

//export oargo_config_value
func oargo_config_value(h C.uintptr_t, key *C.char, value **C.char) (status C.oar_status) {
	defer caught(&status)
	b := configOf(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	text, err := b.config.Value(C.GoString(key))
	if err == nil {
		*value = C.CString(text)
	}
	return fail(err, C.OAR_ERR_CONFIG)
}

//export oargo_config_validate
func oargo_config_validate(h C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	b := configOf(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	return fail(b.config.Validate(), C.OAR_ERR_CONFIG)
}

//export oargo_config_members
func oargo_config_members(h C.uintptr_t, ids *C.uint64_t, room C.size_t, count *C.size_t) (status C.oar_status) {
	defer caught(&status)
	b := configOf(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	to := unsafe.Slice(ids, int(room))
	for i, m := range b.config.Members {
		if i < len(to) {
			to[i] = C.uint64_t(m.ID)
		}
	}
	*count = C.size_t(len(b.config.Members))
	return C.OAR_OK
}

//export oargo_config_dump
func oargo_config_dump(h C.uintptr_t, toml **C.char) (status C.oar_status) {
	defer caught(&status)
	b := configOf(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	err := b.config.Encode(&text)
	if err == nil {
		*toml = C.CString(text.String())
	}
	return fail(err, C.OAR_ERR_CONFIG)
}

//export oargo_config_write
func oargo_config_write(h C.uintptr_t, path *C.char) (status C.oar_status) {
	defer caught(&status)
	b := configOf(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	return fail(b.config.Write(C.GoString(path)), C.OAR_ERR_IO)
}

//export oargo_config_free
func oargo_config_free(h C.uintptr_t) { cgo.Handle(h).Delete() }
