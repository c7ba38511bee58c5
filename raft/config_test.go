package raft

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigNamesTheSettingsThatClash(t *testing.T) {
	good := Config{Group: 1, ID: 1, Store: storeOf(1, 1), Founders: []Member{{ID: 1}, {ID: 2}}}
	require.NoError(t, good.Validate())
	for want, spoil := range map[string]func(c *Config){
		"Group":               func(c *Config) { c.Group = 0 },
		"ID":                  func(c *Config) { c.ID = 0 },
		"Store":               func(c *Config) { c.Store = StoreID{} },
		"ElectionTimeoutMax":  func(c *Config) { c.ElectionTimeoutMin, c.ElectionTimeoutMax = time.Second, time.Second },
		"HeartbeatInterval":   func(c *Config) { c.HeartbeatInterval = time.Second },
		"MessageBytesMax":     func(c *Config) { c.MessageBytesMax = 1 << 30 },
		"InflightBytesMax":    func(c *Config) { c.InflightBytesMax = 1 << 30 },
		"InflightMessagesMax": func(c *Config) { c.InflightMessagesMax = -1 },
		"Founders":            func(c *Config) { c.Founders = []Member{{ID: 2}, {ID: 1}} },
	} {
		c := good
		spoil(&c)
		require.ErrorContains(t, c.Validate(), want)
		_, err := NewNode(c, State{}, 0)
		require.Error(t, err)
	}
}

func TestDefaultsOfOneTimeoutFollowTheOther(t *testing.T) {
	c := Config{Group: 1, ID: 1, Store: storeOf(1, 1), ElectionTimeoutMax: 2 * time.Second}
	require.NoError(t, c.Validate())
	require.Equal(t, time.Second, c.withDefaults().ElectionTimeoutMin)
	require.Equal(t, 200*time.Millisecond, c.withDefaults().HeartbeatInterval)
}

func TestIDsReadWhatTheyWrite(t *testing.T) {
	id := StoreID{0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xf0}
	for _, s := range []string{id.String(), strings.ReplaceAll(id.String(), "-", ""), strings.ToUpper(id.String())} {
		store, err := ParseStoreID(s)
		require.NoError(t, err)
		require.Equal(t, id, store)
		cluster, err := ParseClusterID(s)
		require.NoError(t, err)
		require.EqualValues(t, id, cluster)
	}
	for _, s := range []string{"", "12", id.String() + "0", strings.Repeat("g", 32), "x" + id.String()[1:]} {
		_, err := ParseStoreID(s)
		require.Error(t, err, "%q", s)
	}
}

func TestMembershipThatCannotBeIsRefused(t *testing.T) {
	good := decodeMembership([]byte("1@1,2@1/1@1,3@1/4@1"))
	require.NoError(t, good.Validate())
	require.Len(t, good.Members(), 4)
	for _, bad := range []string{
		"//", "/1@1/", "1@1,1@1//", "1@1,1@2//", "1@1/2@1/2@1", "1@1//1@1", "1@1//1@2", "0@1//", "1@1/2@1//2@1", "1@1//2@1//2@1", "1@1///2@1/2@1",
	} {
		require.Error(t, decodeMembership([]byte(bad)).Validate(), bad)
	}
	unordered := Membership{Voters: []Member{{ID: 2}, {ID: 1}}}
	require.Error(t, unordered.Validate())
	other := good.Clone()
	require.True(t, other.Equal(good))
	other.Voters[0].Address = "elsewhere"
	require.False(t, other.Equal(good), "a clone shares nothing")
}
