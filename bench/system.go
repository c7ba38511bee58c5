package main

import (
	"fmt"
	"slices"
	"strings"
)

// System is what is measured: three members of something that replicates, in this process, over real TCP on loopback,
// with real files and a sync before anything is acknowledged.
type System interface {
	// Name is how the system is called in flags and tables.
	Name() string
	// Start opens the three members below dir, which is empty, and returns when they take proposals.
	Start(dir string) error
	// Propose returns when the command was applied. It is called from many goroutines.
	Propose(command []byte) error
	// Query returns when a linearizable read was answered. It is called from many goroutines.
	Query() error
	// Stats returns counters that grow from Start on.
	Stats() Stats
	// Close ends the members. An error is a reason to distrust what was measured.
	Close() error
}

// Stats are a system's own counters, all members together.
type Stats struct {
	Syncs   uint64 // of the logs
	Retries uint64 // operations tried again, because the leader had changed
}

// kinds are the systems that can be measured, in the order of the tables; the first one is what ratios refer to. retain is how many
// bytes of log each member keeps.
var kinds = []struct {
	name string
	make func(retain int64) System
}{
	{"limit", func(retain int64) System { return &limitSystem{name: "limit", retain: retain} }},
	{"limit-pebble", func(retain int64) System { return &limitSystem{name: "limit-pebble", pebble: true, retain: retain} }},
	{"oarlock", func(retain int64) System { return &oarlockSystem{name: "oarlock", retain: retain} }},
	{"oarlock-segments", func(retain int64) System {
		return &oarlockSystem{name: "oarlock-segments", segments: true, retain: retain}
	}},
}

func systemNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// newSystems makes the named ones, in the order of kinds.
func newSystems(names []string, retain int64) ([]System, error) {
	for _, n := range names {
		if !slices.Contains(systemNames(), n) {
			return nil, fmt.Errorf("there is no system %q; there are %s", n, strings.Join(systemNames(), ", "))
		}
	}
	var systems []System
	for _, k := range kinds {
		if slices.Contains(names, k.name) {
			systems = append(systems, k.make(retain))
		}
	}
	return systems, nil
}
