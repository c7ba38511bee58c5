/*
 * oarlock.h: a replicated log that applications plug into. The C interface of liboarlock.
 *
 * An application implements an oar_state_machine (apply, query, snapshot, restore) and opens an oar_server, which keeps
 * every copy of that state in step with the other servers of its cluster: on disk, over the network, through crashes.
 * A process that is no member reaches the cluster through an oar_client.
 *
 * Rules that hold everywhere, unless a function says otherwise:
 *
 *   - Every function may be called from any thread at any time, also with a handle that another thread is closing.
 *   - Functions that can fail return an oar_status. OAR_OK is 0. oar_last_error() and oar_last_error_detail() say more
 *     about the last failure on the calling thread. Out parameters come last; after a failure, pointers and handles among
 *     them are NULL and lengths 0.
 *   - Handles (oar_config, oar_server, oar_client, oar_call, oar_queue, oar_events, oar_cluster) are names in a table, not
 *     addresses of memory. NULL, a freed handle, one of another type, or a number made up: OAR_ERR_HANDLE, never a crash. What is
 *     not a handle (bytes, strings, structs) must be valid, as everywhere in C. A thread that is inside a call when another
 *     frees the handle comes out of it with an error, before the freeing returns.
 *   - Bytes are a pointer and a length. A NULL pointer with length 0 is an empty one, also of what is handed out. Bytes
 *     handed in are read before the function returns and stay the caller's. Bytes handed out through `void **` or
 *     `char **` are the caller's, to be released with oar_free; where these pointers are NULL the answer is dropped.
 *   - Structs begin with struct_size, which the caller sets to sizeof the struct, in what it fills in and in what the
 *     library is to fill in; OAR_INIT(&options) does it and zeroes the rest. Zero in any other member means its default.
 *     Later versions only append members. The library takes a larger struct whose further bytes are zero, and writes no
 *     further than struct_size. In structs that callbacks are given, struct_size is the library's. oar_entry is frozen.
 *     Reserved members and unknown flags must be 0: OAR_ERR_FLAGS.
 *   - Durations are relative, in nanoseconds. OAR_FOREVER never ends; 0 does not wait; other negative ones are
 *     OAR_ERR_ARGUMENT.
 *   - Callbacks (of a state machine, a completion, a log) get user_data first. They must not throw C++ exceptions or longjmp
 *     through the library, and they must not wait for it: in one, every function that takes a timeout, that begins what is
 *     waited for (_start), that starts, closes or frees a server or a client, or that looks at a server's state, returns
 *     OAR_ERR_WOULD_DEADLOCK, whichever server it is about. The functions ending in _async and _queued may be called.
 *   - After fork(), every function in the child returns OAR_ERR_FORKED at once, and releases nothing. exec is fine, and so
 *     is posix_spawn. A child that lives on keeps the listening ports of its parent taken.
 *   - The library asks for no signal, reads no environment variable but the Go runtime's own, and prints nothing. The Go
 *     runtime handles SIGSEGV, SIGBUS, SIGFPE, SIGPIPE and SIGURG and passes on what is not its own to the handlers that
 *     stood before the library was loaded; handlers that the host installs later need SA_ONSTACK.
 *
 * Linux with glibc 2.34 or later, 64 bit. Compiles as C89 to C23 and as C++98 to C++20. MIT licence.
 */
#ifndef OARLOCK_H
#define OARLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define OAR_API __attribute__((visibility("default")))
#else
#define OAR_API
#endif

/* ---- Versions ---------------------------------------------------------------------------------------------------- */

/* The ABI that this header describes. Within one major number, a library serves every header with a minor number up to
 * its own. */
#define OAR_ABI_MAJOR 1
#define OAR_ABI_MINOR 1

/* ---- Statuses ---------------------------------------------------------------------------------------------------- */

/* What a status says of what happened, as bits. Check OAR_CLASS_MAYBE_COMMITTED first: where it is set, the command may
 * have been applied or may yet be, and proposing it again outside of a session may apply it twice. Where neither it nor
 * OAR_CLASS_APPLIED is set, this attempt's command was certainly not applied and never will be. It speaks of the attempt:
 * once one attempt at a command may have been committed, no later attempt's refusal takes that back. In a session the
 * same sequence may be proposed again after any of them: it is executed once. */
#define OAR_CLASS_RETRYABLE 1u       /* the same call may succeed after a while, or with REDIRECT elsewhere */
#define OAR_CLASS_MAYBE_COMMITTED 2u /* the outcome of a proposal is not known */
#define OAR_CLASS_REDIRECT 4u        /* another server is the one to ask; the detail may name it */
#define OAR_CLASS_FATAL 8u           /* this server will not serve again as it is; read the text */
#define OAR_CLASS_APPLIED 16u        /* the command was applied all the same */

/* Every status: X(name, number, class, text). Numbers stand in blocks: 1 usage, 100 flow, 200 raft, 300 storage, 400 the
 * state machine, 500 the library itself. A number never gets another meaning. */
#define OAR_STATUS_LIST(X)                                                                                             \
    X(OAR_OK, 0, 0u, "success")                                                                                        \
    X(OAR_ERR_ARGUMENT, 1, 0u, "an argument cannot be")                                                                \
    X(OAR_ERR_HANDLE, 2, 0u, "no handle of this type, or one that was freed")                                          \
    X(OAR_ERR_STRUCT_SIZE, 3, 0u, "a struct's struct_size is none that any version of it has had")                     \
    X(OAR_ERR_FLAGS, 4, 0u, "a flag that this version does not know")                                                  \
    X(OAR_ERR_CONFIG, 5, 0u, "a configuration that cannot work")                                                       \
    X(OAR_ERR_ORDER, 6, 0u, "not at this point: called too early, or twice")                                           \
    X(OAR_ERR_WOULD_DEADLOCK, 7, 0u, "this callback must not make this call: it would wait for itself")                \
    X(OAR_ERR_FORKED, 8, 8u, "the library does not work in a forked child; use exec or posix_spawn")                   \
    X(OAR_ERR_ABI, 9, 0u, "the library is older than the header, or another major version")                           \
    X(OAR_ERR_NO_MEMORY, 10, 1u, "out of memory; nothing was begun")                                                   \
    X(OAR_ERR_TOO_LARGE, 11, 0u, "larger than the server's limits allow")                                              \
    X(OAR_ERR_MALFORMED, 12, 0u, "a request that makes no sense to a server")                                          \
    X(OAR_ERR_UNSUPPORTED, 13, 0u, "not in this version")                                                              \
    X(OAR_ERR_NOT_FOUND, 14, 0u, "there is no such file or member")                                                    \
    X(OAR_ERR_EXISTS, 15, 0u, "there is such a file already")                                                          \
    X(OAR_ERR_TIMEOUT, 100, 1u, "the time that was given is over; nothing is left behind")                             \
    X(OAR_ERR_UNKNOWN, 101, 2u, "the outcome is not known: the command may have been applied, or may yet be")          \
    X(OAR_ERR_NOT_SENT, 102, 1u, "ended before anything was sent")                                                     \
    X(OAR_ERR_BUSY, 103, 1u, "a queue is full, or a change of the membership cannot begin yet: later")                 \
    X(OAR_ERR_CLOSED, 104, 0u, "closed")                                                                               \
    X(OAR_ERR_INTERRUPTED, 105, 1u, "a signal came while waiting")                                                     \
    X(OAR_ERR_PENDING, 106, 2u, "not ended yet: wait for it again, and begin no other")                                \
    X(OAR_ERR_CANCELLED, 107, 0u, "given up by the caller")                                                            \
    X(OAR_ERR_NOT_LEADER, 200, 5u, "another server leads")                                                             \
    X(OAR_ERR_NO_LEADER, 201, 1u, "no server leads at the moment")                                                     \
    X(OAR_ERR_NOT_READY, 202, 1u, "the replica is not ready to answer yet")                                            \
    X(OAR_ERR_NO_GROUP, 203, 0u, "there is no such group on this server")                                              \
    X(OAR_ERR_SESSION_EXPIRED, 204, 0u, "there is no such session, or it has expired")                                 \
    X(OAR_ERR_SEQUENCE, 205, 0u, "a sequence below the session's floor, or too far above it")                          \
    X(OAR_ERR_CLUSTER, 206, 0u, "a server of another cluster")                                                         \
    X(OAR_ERR_VERSION, 207, 0u, "the two sides speak no common version of the protocol")                               \
    X(OAR_ERR_REFUSED, 208, 8u, "the other servers refuse this one: it is a stranger, was removed, or lost data")      \
    X(OAR_ERR_ADDRESS, 209, 1u, "an address cannot be listened on: taken, or not of this machine")                     \
    X(OAR_ERR_BEHIND, 210, 5u, "this server has not applied in time what the answer has to reflect")                   \
    X(OAR_ERR_CHANGE_IMPOSSIBLE, 211, 0u, "the change makes no sense for the membership that there is")                \
    X(OAR_ERR_CHANGE_OPEN, 212, 1u, "another change of the membership is under way")                                   \
    X(OAR_ERR_CHANGE_MOVED, 213, 0u, "the membership is not the one that the change starts from: look again")          \
    X(OAR_ERR_CHANGE_UNSAFE, 214, 1u, "the group could stand still after the change; forcing it passes this check")    \
    X(OAR_ERR_CHANGE_GIVEN_UP, 215, 1u, "a newcomer did not catch up, or the change was cancelled: all is as before")  \
    X(OAR_ERR_TRANSFER_TARGET, 216, 1u, "the chosen server cannot lead now, or no other one can")                      \
    X(OAR_ERR_TRANSFER_OPEN, 217, 1u, "leadership is being handed over to another server already")                     \
    X(OAR_ERR_TRANSFER_FAILED, 218, 1u, "the other server did not take over in time; the leader leads on")             \
    X(OAR_ERR_STORAGE, 300, 8u, "the store failed")                                                                    \
    X(OAR_ERR_NOT_FORMATTED, 301, 0u, "the directory holds no store: format it first")                                 \
    X(OAR_ERR_FORMATTED, 302, 0u, "the directory holds a store already")                                               \
    X(OAR_ERR_IN_USE, 303, 1u, "another process has the store open")                                                   \
    X(OAR_ERR_DAMAGED, 304, 8u, "the store is damaged")                                                                \
    X(OAR_ERR_FORMAT_VERSION, 305, 0u, "the store was written by another version")                                     \
    X(OAR_ERR_IO, 306, 1u, "the operating system refused a file or a connection")                                      \
    X(OAR_ERR_STATE_MACHINE, 400, 8u, "the state machine failed")                                                      \
    X(OAR_ERR_FENCED, 401, 8u, "the replica has stopped itself for good")                                              \
    X(OAR_ERR_RESULT_TOO_LARGE, 402, 16u, "applied, but its result is longer than the limit and was dropped")          \
    X(OAR_ERR_QUERY, 403, 0u, "the state machine answered the query with an error")                                    \
    X(OAR_ERR_ANSWER_TOO_LARGE, 404, 0u, "the query's answer is longer than the limit")                                \
    X(OAR_ERR_SNAPSHOT, 405, 1u, "the state machine did not give its snapshot; the replica goes on")                   \
    X(OAR_ERR_CHECK_FAILED, 406, 0u, "the state machine breaks a promise; the text and the report say which, and where")    \
    X(OAR_ERR_INTERNAL, 500, 2u, "a fault of the library; please report it with its text")

/* A status is one of the numbers below. */
typedef int32_t oar_status;

enum oar_status_number {
#define OAR_STATUS_MEMBER_(name, number, class_bits, text) name = number,
    OAR_STATUS_LIST(OAR_STATUS_MEMBER_)
#undef OAR_STATUS_MEMBER_
    OAR_STATUS_MAX_ = 9999
};

/* ---- Types ------------------------------------------------------------------------------------------------------- */

typedef struct oar_config oar_config; /* a cluster as its TOML file describes it */
typedef struct oar_server oar_server; /* a member of a cluster, in this process */
typedef struct oar_client oar_client; /* a client of a cluster */
typedef struct oar_call oar_call;     /* a proposal or query under way */
typedef struct oar_queue oar_queue;   /* completions, taken by the host's own thread */
typedef struct oar_events oar_events; /* what happens on a server, taken by the host's own thread */
typedef struct oar_cluster oar_cluster; /* servers on disks and a network in memory, for tests */

/* These four are no handles: they are valid during the callback or work that they were given to, and used on one thread
 * at a time. */
typedef struct oar_results oar_results; /* takes the results of a batch, in order */
typedef struct oar_buf oar_buf;         /* takes one answer */
typedef struct oar_writer oar_writer;   /* takes a snapshot */
typedef struct oar_reader oar_reader;   /* gives one */

#define OAR_FOREVER ((int64_t)-1)
#define OAR_SECOND ((int64_t)1000000000)
#define OAR_MILLISECOND ((int64_t)1000000)

/* Sets a struct to its defaults. */
#define OAR_INIT(p) oar_init_((p), sizeof *(p))
static __inline__ void oar_init_(void *at, size_t size) {
    uint32_t struct_size;
    struct_size = (uint32_t)size;
    memset(at, 0, size);
    memcpy(at, &struct_size, sizeof struct_size);
}

/* The group of a server that has one. 0 means this one wherever a group is asked for. */
#define OAR_GROUP_DEFAULT ((uint64_t)1)

/* ---- Library ----------------------------------------------------------------------------------------------------- */

/* The library's version, "1.0.0" for instance. Static. Never fails, also after fork. */
OAR_API const char *oar_version(void);

/* Compares what a program was compiled with to the library. Call OAR_CHECK_ABI() first thing. */
OAR_API oar_status oar_check_abi(uint32_t abi_major, uint32_t abi_minor);
#define OAR_CHECK_ABI() oar_check_abi(OAR_ABI_MAJOR, OAR_ABI_MINOR)

/* The name of a status ("OAR_ERR_BUSY"), what it means in a sentence, and its OAR_CLASS_ bits. Static; for numbers that
 * are no status "unknown status", and OAR_CLASS_MAYBE_COMMITTED. Never fail, also after fork. */
OAR_API const char *oar_status_name(oar_status status);
OAR_API const char *oar_status_text(oar_status status);
OAR_API uint32_t oar_status_class(oar_status status);

/* The text of the last failure on this thread: what exactly is wrong, and the way out. Empty if there was none. Valid
 * until the next call on this thread that fails. */
OAR_API const char *oar_last_error(void);

typedef struct oar_error_detail {
    uint32_t struct_size;
    oar_status status;           /* what the function returned */
    oar_status cause;            /* why: of an outcome that is not known, of a wait that ended; else status */
    uint32_t class_bits;         /* OAR_CLASS_ bits of status, and OAR_CLASS_FATAL of cause */
    uint64_t leader;             /* with OAR_CLASS_REDIRECT: the id of the server that leads; 0: not known */
    const char *leader_address;  /* where clients reach it, empty: not known; valid as oar_last_error */
    int32_t system_error;        /* the errno behind it; 0: none */
    uint32_t reserved;
} oar_error_detail;

/* The last failure on this thread in numbers. */
OAR_API oar_status oar_last_error_detail(oar_error_detail *detail);

/* Releases what the library handed out. NULL is fine. Works after fork. */
OAR_API void oar_free(void *memory);

typedef struct oar_runtime_options {
    uint32_t struct_size;
    int32_t gc_percent;         /* how much garbage, in percent of what lives, is let grow; 100 */
    int64_t memory_bytes_soft;  /* the library collects harder as its own heap comes near; 0: no such limit */
    int32_t processors;         /* threads that run at once; 0: as many as the machine has */
    uint32_t flags;             /* 0 */
} oar_runtime_options;

/* Tunes the library's runtime for this process. Zero members leave things as they are. The environment variables of the
 * Go runtime (GOGC, GOMEMLIMIT, GOMAXPROCS) are read when the library is loaded; what a host puts into its environment
 * later has no effect, this has. */
OAR_API oar_status oar_runtime_configure(const oar_runtime_options *options);

typedef struct oar_counts {
    uint32_t struct_size;
    uint32_t goroutines;  /* of the library's runtime */
    uint32_t configs;     /* open handles of each type */
    uint32_t servers;
    uint32_t clients;
    uint32_t calls;       /* handles of calls, and calls under way without one */
    uint32_t queues;
    uint32_t events;
    uint64_t bytes;       /* of C memory that the library holds for them, without what it handed out */
    uint32_t clusters;    /* their servers are counted with the servers */
    uint32_t reserved;
} oar_counts;

/* What is open: for tests that look for leaks. */
OAR_API oar_status oar_debug_counts(oar_counts *counts);

/* Closes every server and client, within the timeout. For hosts that unload plug-ins or end in a hurry; the handles still
 * have to be freed. The library can be used again afterwards. */
OAR_API oar_status oar_shutdown(int64_t timeout);

/* ---- Configuration ----------------------------------------------------------------------------------------------- */

/* A configuration with every default, no cluster id and no members. */
OAR_API oar_status oar_config_new(oar_config **config);

/* Reads a cluster's TOML file into a new configuration. All its errors are reported together, with their lines.
 * OAR_ERR_NOT_FOUND if there is no such file. */
OAR_API oar_status oar_config_load_file(const char *path, oar_config **config);

/* The same of a text. path stands in errors, and relative paths in the text begin at its folder; NULL: at the current one. */
OAR_API oar_status oar_config_parse(const char *text, size_t text_len, const char *path, oar_config **config);

/* Makes the configuration of a new cluster on this machine: a new random cluster id, members 1 to `members` on 127.0.0.1
 * from port_first, data directories in data_dir. It has to be kept, with oar_config_write_file, and loaded from then on:
 * load the file; where it is OAR_ERR_NOT_FOUND, generate, write, and format every member once. */
OAR_API oar_status oar_config_generate(uint32_t members, const char *data_dir, uint16_t port_first, oar_config **config);

/* Sets a key of the TOML file, "timing.heartbeat_interval" to "60ms" for instance; a member's key names the member,
 * "member.2.address". An unknown key is an error that names the nearest known one. Clashes between keys are found by
 * oar_config_validate, and by whatever uses the configuration. */
OAR_API oar_status oar_config_set(oar_config *config, const char *key, const char *value);

/* What a key is set to, as text that oar_config_set takes. */
OAR_API oar_status oar_config_value(oar_config *config, const char *key, char **value);

/* Finds what cannot work together, and names it all. */
OAR_API oar_status oar_config_validate(oar_config *config);

/* The ids of the members: at most `room` of them go to ids, *count is how many there are. ids may be NULL if room is 0. */
OAR_API oar_status oar_config_members(oar_config *config, uint64_t *ids, size_t room, size_t *count);

/* The whole configuration as TOML. */
OAR_API oar_status oar_config_dump(oar_config *config, char **toml);

/* Writes it to a file; OAR_ERR_EXISTS if there is one: a cluster id is never overwritten. Relative data directories are
 * relative to the file's folder from then on. */
OAR_API oar_status oar_config_write_file(oar_config *config, const char *path);

/* Servers and clients keep what they need of a configuration, so it may be freed at any time. NULL is fine. */
OAR_API oar_status oar_config_free(oar_config *config);

/* ---- State machine ----------------------------------------------------------------------------------------------- */

/* One committed command. This struct is frozen: arrays of it are handed out. */
typedef struct oar_entry {
    uint64_t index;       /* its place in the log: grows, with gaps where other entries are */
    uint64_t term;        /* the leader's term in which it was made */
    int64_t time;         /* cluster time: nanoseconds since the group was born; the only clock a state machine may use */
    const void *command;  /* valid until the callback returns; must not be changed. NULL if it is empty */
    size_t command_len;
    uint64_t reserved;
} oar_entry;

/*
 * The application (push): the library calls it.
 *
 * The state after an entry depends on the entries up to it and on nothing else: no clock but oar_entry.time, no random
 * number, no address, no environment, no I/O whose outcome can differ between servers.
 *
 * Threads: all callbacks but snapshot_write and snapshot_release are called one at a time, on threads of the library that
 * may change from call to call. snapshot_write and snapshot_release run on another thread, beside later applies; and query
 * does with OAR_MACHINE_CONCURRENT_QUERIES.
 *
 * A callback returns OAR_OK, or the status of a failure; return oar_fail("what and why") gives it a text. What a failure
 * means is said at each one.
 */
typedef struct oar_state_machine {
    uint32_t struct_size;
    uint32_t flags; /* OAR_MACHINE_ bits */

    /* Required. Executes `count` committed commands in log order; for each, one result is appended with oar_results_add
     * (in pieces: oar_results_append, then oar_results_end); what is missing at the end is an empty result. A refusal of
     * a command is a result, and so is what comes of one that makes no sense: a command is whatever bytes a client has sent,
     * also fewer than you expect, or none, with a NULL pointer. A failure means that the state machine is broken: the replica
     * stops for good, and everybody hears its text: who waits as OAR_ERR_UNKNOWN with cause OAR_ERR_STATE_MACHINE, who comes
     * later as OAR_ERR_FENCED. No entry is ever skipped. */
    oar_status (*apply)(void *user_data, const oar_entry *entries, size_t count, oar_results *results);

    /* Required. Answers a read from the state as it is, by oar_buf_append, without changing it. A failure goes back to
     * whoever asked (OAR_ERR_QUERY with its text), and has no other effect. */
    oar_status (*query)(void *user_data, const void *query, size_t query_len, oar_buf *answer);

    /* Captures the state as it is now, quickly, because commands wait meanwhile. *snapshot is handed to snapshot_write and
     * snapshot_release. A failure is reported as an event, and a snapshot tried again later. snapshot_write and restore
     * are given both or neither, and this one only with them; without, the log is never compacted and a restart executes
     * all of it again. */
    oar_status (*snapshot_prepare)(void *user_data, void **snapshot);

    /* Writes the captured state with oar_writer_write, which waits while the disk is slow: back-pressure. At most once for
     * each capture. */
    oar_status (*snapshot_write)(void *user_data, void *snapshot, oar_writer *writer);

    /* Releases a capture: exactly once for each, after snapshot_write or instead of it. NULL: nothing to release. */
    void (*snapshot_release)(void *user_data, void *snapshot);

    /* Replaces the whole state by a snapshot's, read with oar_reader_read to its end. After a failure the replica stops for
     * good. OAR_OK with bytes of the snapshot left unread is one. All or nothing: after a failure the old state must be
     * untouched, or the machine must not be used again, which it says by failures of snapshot_prepare from then on;
     * oar_state_machine_check looks at that. Reading into a new state that takes the place of the old one at the end does it. */
    oar_status (*restore)(void *user_data, oar_reader *reader);

    /* Optional, both or none: for what falls due by cluster time alone. next_due returns non-zero and sets *time if
     * something is due at a time; it depends on the state only. expire executes what is due at `time`; a next_due that is
     * not past it afterwards stops the replica. */
    int (*next_due)(void *user_data, int64_t *time);
    oar_status (*expire)(void *user_data, uint64_t index, int64_t time);

    /* Optional: a hash of the state, equal on all servers that have applied the same entries. */
    uint64_t (*state_hash)(void *user_data);

    /* Optional: releases user_data. Called exactly once if oar_server_open returned OAR_OK, by the oar_server_free that
     * returns OAR_OK, on its thread, after all other callbacks; not at all if oar_server_open failed. */
    void (*destroy)(void *user_data);
} oar_state_machine;

#define OAR_MACHINE_CONCURRENT_QUERIES 1u /* query may run on several threads, beside apply and itself */

/* For a callback to return: OAR_ERR_STATE_MACHINE with a text, which is copied, for whoever is told of the failure. */
OAR_API oar_status oar_fail(const char *text);

/* Results of a batch. Plain C, no crossing into another language. They fail with OAR_ERR_NO_MEMORY only, or
 * OAR_ERR_ARGUMENT for more results than there are entries. */
OAR_API oar_status oar_results_add(oar_results *results, const void *result, size_t result_len);
OAR_API oar_status oar_results_append(oar_results *results, const void *piece, size_t piece_len);
OAR_API oar_status oar_results_end(oar_results *results);

/* Appends to an answer. Plain C. */
OAR_API oar_status oar_buf_append(oar_buf *buf, const void *bytes, size_t bytes_len);

/* Writes a piece of a snapshot. After a failure all further writes fail too; return it from snapshot_write. */
OAR_API oar_status oar_writer_write(oar_writer *writer, const void *bytes, size_t bytes_len);

/* Reads the next bytes of a snapshot into a buffer of the caller, as many as it has room for: *got is less at the end of the
 * snapshot and nowhere else, so whoever asks for what must be there has to look at it. 0 means that nothing is left. */
OAR_API oar_status oar_reader_read(oar_reader *reader, void *buffer, size_t buffer_len, size_t *got);

/* ---- Server ------------------------------------------------------------------------------------------------------ */

typedef struct oar_log_record {
    uint32_t struct_size;
    int32_t level;           /* -4 debug, 0 info, 4 warning, 8 error */
    const char *component;   /* "server", "raft", "tcp" ... */
    const char *text;        /* the message with its attributes, in one line */
} oar_log_record;

typedef struct oar_server_options {
    uint32_t struct_size;
    uint32_t flags;                     /* OAR_SERVER_ bits */
    const oar_state_machine *machine;   /* push: copied. NULL with OAR_SERVER_PULL */
    void *machine_user_data;
    uint32_t pull_flags;                /* with OAR_SERVER_PULL: OAR_PULL_ bits */
    uint32_t reserved;                  /* 0 */
    /* Optional: takes what the server tells of itself; without it nothing is logged. Called on one library thread at a
     * time, which delays only itself; the record is valid until it returns. log_levels is a list like
     * "raft=debug,tcp=off,info"; NULL means "info". log_destroy releases log_user_data, as the machine's destroy does. */
    void (*log)(void *log_user_data, const oar_log_record *record);
    void *log_user_data;
    void (*log_destroy)(void *log_user_data);
    const char *log_levels;
} oar_server_options;

#define OAR_SERVER_PULL 1u /* the host's threads fetch the state machine's work: oar_work_next */

/* Makes the store of a member in its data directory: the explicit act by which a server comes to be, once.
 * OAR_ERR_FORMATTED if there is a store already. A founder that has lost its disk cannot take its old place with such a store, and its
 * replacement is given up: oar_server_format_joining is for that. */
OAR_API oar_status oar_server_format(oar_config *config, uint64_t server_id);

/* The same for a server that is to join a group that exists: as a new member, or in the place of one whose disk was lost, also
 * of a founder. Whatever the configuration says of it, it founds nothing, and waits until a change of the membership names it
 * (oar_change_membership). It has to run, or the change is given up. */
OAR_API oar_status oar_server_format_joining(oar_config *config, uint64_t server_id);

/* Makes a member of the configuration, which is validated and copied. Nothing is opened yet. */
OAR_API oar_status oar_server_open(oar_config *config, uint64_t server_id, const oar_server_options *options,
                                   oar_server **server);

/* Opens the store and the network and starts. It does not wait for the state machine: a snapshot is restored and the log
 * applied beside, by threads of a pulled machine too, which may be at oar_work_next before. After a failure it may be
 * called again. */
OAR_API oar_status oar_server_start(oar_server *server);

/* Waits until this server knows a leader and has applied what was committed when it learned of it. OAR_ERR_REFUSED if the
 * other servers refuse it meanwhile, OAR_ERR_FENCED if it stops. */
OAR_API oar_status oar_server_wait_ready(oar_server *server, int64_t timeout);

/* Waits until the server stops, by itself or closed, and returns why: OAR_ERR_CLOSED if it was closed. */
OAR_API oar_status oar_server_wait_stopped(oar_server *server, int64_t timeout);

/* Closes: hands leadership over first, where this server leads and another one can, within two of the longest election
 * timeouts; then it refuses what comes, answers everybody who waits (OAR_ERR_CLOSED, or OAR_ERR_UNKNOWN for commands that were
 * under way), lets callbacks finish, and leaves nothing of its own running. When it returns OAR_OK no callback runs and none will
 * but the destructors. Work that a pulled machine's threads have not fetched is dropped, work that they have is waited
 * for. Bounded by the configuration's timing.close_timeout: a failure names what is stuck, and closing may be tried again.
 * Closing what is closed is fine. */
OAR_API oar_status oar_server_close(oar_server *server);

/* Closes if need be, waits for calls on other threads to return, runs the destructors (destroy, then log_destroy) and
 * releases the handle. NULL is fine. If something is stuck, it fails with its name and the handle remains. */
OAR_API oar_status oar_server_free(oar_server *server);

/* Roles, as oar_group_info has them. */
#define OAR_ROLE_FOLLOWER 0u
#define OAR_ROLE_PRE_CANDIDATE 1u
#define OAR_ROLE_CANDIDATE 2u
#define OAR_ROLE_LEADER 3u

typedef struct oar_group_info {
    uint32_t struct_size;
    uint32_t role;           /* OAR_ROLE_ */
    uint64_t group;
    uint64_t term;
    uint64_t leader;         /* its id; 0: not known */
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t last_index;
    uint64_t snapshot_index; /* of the newest snapshot */
    uint64_t sessions;       /* open */
    uint64_t commands;       /* executed since the server started */
    uint32_t fenced;         /* 1: the replica has stopped for good */
    uint32_t voters;         /* in the membership in use */
    uint32_t learners;
    uint32_t refused;        /* 1: the other servers refuse this one; the status as JSON says why */
    uint64_t membership_index; /* the entry that brought the membership in use; committed if not above commit_index */
    uint64_t successor;      /* with OAR_GROUP_TRANSFERRING: to whom; 0: none is chosen yet */
    uint32_t flags;          /* OAR_GROUP_ bits */
    uint32_t priority;       /* this server's claim to leadership */
} oar_group_info;

#define OAR_GROUP_CHANGING 1u      /* a change of the membership is open */
#define OAR_GROUP_REMOVED 2u       /* this server was a member and is none any more: it runs on and disturbs nobody */
#define OAR_GROUP_TRANSFERRING 4u  /* this server leads and is handing over */
#define OAR_GROUP_LEASE 8u         /* this server leads and holds a lease: OAR_LEASE asks nobody */
#define OAR_GROUP_STORAGE_HUNG 16u /* saves are under way, and none has completed for an election timeout */

/* A look at one replica. It waits for no disk and no network. */
OAR_API oar_status oar_server_group_info(oar_server *server, uint64_t group, oar_group_info *info);

typedef struct oar_identity {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t server;             /* its id */
    unsigned char cluster[16];   /* the cluster's */
    unsigned char store[16];     /* its store's, drawn when it was formatted: an id is bound to one store */
} oar_identity;

/* Who a server is, once it was started: whoever adds it to a group names its store. */
OAR_API oar_status oar_server_identity(oar_server *server, oar_identity *identity);

/* Everything that the server knows of itself, as JSON: groups, queues and their bounds, counters, transport. */
OAR_API oar_status oar_server_status_json(oar_server *server, char **json);

/* Takes a snapshot of this server's replica, leader or not, and returns when it is durable. OAR_ERR_PENDING when the time is
 * over: it goes on. OAR_ERR_SNAPSHOT when the state machine's callback failed: the text is the callback's, and the replica
 * goes on without this snapshot. OAR_ERR_UNSUPPORTED from a machine without snapshots. */
OAR_API oar_status oar_server_snapshot(oar_server *server, uint64_t group, int64_t timeout);

/* ---- Proposals and queries --------------------------------------------------------------------------------------- */

typedef struct oar_propose_options {
    uint32_t struct_size;
    uint32_t flags;     /* 0 */
    uint64_t group;
    uint64_t session;   /* 0: outside of any session */
    uint64_t sequence;  /* in a session: from 1 up, one for each command; a retry has the same */
    uint64_t floor;     /* in a session: the lowest sequence that is still waited for */
    int64_t timeout;    /* of _async, _queued and _start alone, which then end as a waiting call would; 0: OAR_FOREVER */
} oar_propose_options;

typedef struct oar_query_options {
    uint32_t struct_size;
    uint32_t flags;        /* 0 */
    uint64_t group;
    uint32_t consistency;  /* OAR_LINEARIZABLE, OAR_STALE, OAR_LEASE or OAR_BOUNDED */
    uint32_t reserved;     /* 0 */
    int64_t timeout;       /* as in oar_propose_options */
    int64_t max_age;       /* OAR_BOUNDED: nanoseconds; 0: any */
    uint64_t min_index;    /* OAR_BOUNDED: an entry's index; 0: any */
} oar_query_options;

/* What an answer has to reflect. Any server may be asked: one that does not lead asks the leader, and waits until it has
 * applied what it is told of; OAR_ERR_BEHIND if it does not come to that. */
#define OAR_LINEARIZABLE 0u /* everything that was answered to anyone before the query began */
#define OAR_STALE 1u        /* what the server has applied, which may be old without bound; needs no other server */
#define OAR_LEASE 2u        /* as OAR_LINEARIZABLE, without asking anyone where the leader holds a lease: right as long as clocks
                             * keep to timing.clock_drift_ppm and no machine is suspended. Where it is 0: OAR_LINEARIZABLE */
#define OAR_BOUNDED 3u      /* all that was answered up to max_age before the query began, by the server's own clock, and the log
                             * up to min_index: of the two those that are set, one at least */

/* Has the group execute a command and waits for its result. One attempt at this server: OAR_ERR_NOT_LEADER where it does
 * not lead (an oar_client is what follows the leader and tries again). When the time is over: OAR_ERR_UNKNOWN, with cause
 * OAR_ERR_TIMEOUT; with a timeout of 0 nothing is proposed: OAR_ERR_NOT_SENT. options may be NULL. */
OAR_API oar_status oar_propose(oar_server *server, const oar_propose_options *options, const void *command,
                               size_t command_len, int64_t timeout, void **result, size_t *result_len);

/* Reads through the state machine and waits for the answer; OAR_ERR_TIMEOUT when the time is over. options may be NULL. */
OAR_API oar_status oar_query(oar_server *server, const oar_query_options *options, const void *query, size_t query_len,
                             int64_t timeout, void **answer, size_t *answer_len);

/* Returns when this server, leader or not, has applied everything that was answered to anyone before it was called. */
OAR_API oar_status oar_barrier(oar_server *server, uint64_t group, int64_t timeout);

/* Returns when this server has applied what a query with these options would have to reflect: an entry with a certain
 * index, for instance. options may be NULL; of their members timeout does not count. */
OAR_API oar_status oar_barrier_at(oar_server *server, const oar_query_options *options, int64_t timeout);

/* Sessions: in one, a command that is tried again with the same sequence is executed once. Ending one that has ended is
 * no error. One that is not used expires by cluster time. When the time is over: OAR_ERR_UNKNOWN, as with proposals. */
OAR_API oar_status oar_session_open(oar_server *server, uint64_t group, int64_t timeout, uint64_t *session);
OAR_API oar_status oar_session_keep(oar_server *server, uint64_t group, uint64_t session, int64_t timeout);
OAR_API oar_status oar_session_close(oar_server *server, uint64_t group, uint64_t session, int64_t timeout);

/* How a proposal or query ended. Valid until the callback returns; from a queue, until the next oar_queue_next or
 * oar_queue_free of that queue. */
typedef struct oar_completion {
    uint32_t struct_size;
    oar_status status;
    oar_status cause;       /* as in oar_error_detail */
    uint32_t reserved;
    uint64_t tag;           /* of calls that a queue completes */
    const void *result;
    size_t result_len;
    const char *text;       /* of a failure; else empty */
    uint64_t leader;        /* as in oar_error_detail */
    const char *leader_address;
    int32_t system_error;
    uint32_t class_bits;
    uint64_t index;         /* of a server's command: its entry; of its query: the last entry that the answer reflects, also where the
                             * answer is an error (OAR_ERR_RESULT_TOO_LARGE, OAR_ERR_QUERY). 0: not known. min_index of a later query,
                             * at any server, sees as much */
} oar_completion;

/* Called exactly once for each call that returned OAR_OK, on a library thread, perhaps before that call returns. It must
 * be quick and must not wait: the group's other work waits behind it. */
typedef void (*oar_completion_callback)(void *user_data, const oar_completion *completion);

/* The same without waiting: OAR_OK means that the callback comes exactly once, an error that it never does. */
OAR_API oar_status oar_propose_async(oar_server *server, const oar_propose_options *options, const void *command,
                                     size_t command_len, oar_completion_callback callback, void *user_data);
OAR_API oar_status oar_query_async(oar_server *server, const oar_query_options *options, const void *query,
                                   size_t query_len, oar_completion_callback callback, void *user_data);

/* The same, completed by a queue that a thread of the host empties: for hosts with a runtime of their own. tag comes back
 * in the completion. OAR_ERR_CLOSED if the queue is closed: nothing was proposed. */
OAR_API oar_status oar_propose_queued(oar_server *server, const oar_propose_options *options, const void *command,
                                      size_t command_len, oar_queue *queue, uint64_t tag);
OAR_API oar_status oar_query_queued(oar_server *server, const oar_query_options *options, const void *query,
                                    size_t query_len, oar_queue *queue, uint64_t tag);

/* The same as a handle, for a host that wants to wait in pieces. */
OAR_API oar_status oar_propose_start(oar_server *server, const oar_propose_options *options, const void *command,
                                     size_t command_len, oar_call **call);
OAR_API oar_status oar_query_start(oar_server *server, const oar_query_options *options, const void *query,
                                   size_t query_len, oar_call **call);

/* Waits for the answer. While there is none: OAR_ERR_PENDING, with cause OAR_ERR_TIMEOUT, or OAR_ERR_INTERRUPTED if a
 * signal handler without SA_RESTART ran on the waiting thread; wait again. Else how the call ended. The answer is handed
 * out once; waiting after that is OAR_ERR_ORDER. */
OAR_API oar_status oar_call_wait(oar_call *call, int64_t timeout, void **result, size_t *result_len);

/* Gives a call up: it ends as OAR_ERR_UNKNOWN or OAR_ERR_NOT_SENT with cause OAR_ERR_CANCELLED, unless its answer comes
 * before. */
OAR_API oar_status oar_call_cancel(oar_call *call);

/* Releases the handle, at any time; a call under way is given up, also for those who wait for it. NULL is fine. */
OAR_API oar_status oar_call_free(oar_call *call);

/* ---- Completion queues ------------------------------------------------------------------------------------------- */

OAR_API oar_status oar_queue_new(oar_queue **queue);

/* Takes what has completed: up to `most` completions of completion_size bytes each (sizeof(oar_completion)), at least one,
 * waiting for the first. One thread at a time takes from a queue. OAR_ERR_CLOSED once oar_queue_close was called and
 * everything was taken. */
OAR_API oar_status oar_queue_next(oar_queue *queue, int64_t timeout, oar_completion *completions, size_t completion_size,
                                  size_t most, size_t *count);

/* Ends the waiting of oar_queue_next for good, once what is under way has completed and was taken. */
OAR_API oar_status oar_queue_close(oar_queue *queue);

/* Releases the queue, once no thread reads a batch of it any more. What completes later is dropped. NULL is fine. */
OAR_API oar_status oar_queue_free(oar_queue *queue);

/* ---- Work (pull) ------------------------------------------------------------------------------------------------- */

/* With OAR_SERVER_PULL the state machine lives on threads of the host, which fetch what is to be done, do it, and report
 * it. The order and the overlap are those of the callbacks above: one piece of apply, query, prepare, restore, expire at
 * a time; snapshot writes and releases beside, on a second thread that asks for these kinds (with one thread for all,
 * commands wait while a snapshot is written). The kinds of all threads together must cover what the flags below enable, or
 * the server waits for ever. No kind comes that the flags did not enable. */
#define OAR_WORK_APPLY 1u             /* entries, entry_count: execute; done with a results frame */
#define OAR_WORK_QUERY 2u             /* data: the query; done with the answer */
#define OAR_WORK_SNAPSHOT_PREPARE 4u  /* capture; the capture is named by this work's id from then on */
#define OAR_WORK_SNAPSHOT_WRITE 8u    /* snapshot, writer: write that capture */
#define OAR_WORK_SNAPSHOT_RELEASE 16u /* snapshot: forget that capture */
#define OAR_WORK_RESTORE 32u          /* reader: replace the state */
#define OAR_WORK_STATE_HASH 64u       /* done with 8 bytes: a number in the machine's byte order */
#define OAR_WORK_NEXT_DUE 128u        /* done with 8 bytes, the time at which something is due; with none, nothing is */
#define OAR_WORK_EXPIRE 256u          /* index, time: execute what is due at that time */
#define OAR_WORK_ALL 511u
#define OAR_WORK_CLOSED 0x80000000u   /* nothing will come any more; not to be reported done */

#define OAR_PULL_CONCURRENT_QUERIES 1u /* queries may be fetched by several threads at once, beside the rest */
#define OAR_PULL_NO_SNAPSHOTS 2u       /* the machine has no snapshots */
#define OAR_PULL_STATE_HASH 4u         /* the machine has a state hash */
#define OAR_PULL_SCHEDULED 8u          /* something in the machine falls due by cluster time: NEXT_DUE, EXPIRE */

typedef struct oar_work {
    uint32_t struct_size;
    uint32_t kind;             /* one OAR_WORK_ bit */
    uint64_t id;               /* names the work in oar_work_done */
    uint64_t group;
    const oar_entry *entries;  /* APPLY: the entries, followed in one piece of memory by their commands */
    size_t entry_count;
    const void *data;          /* QUERY: the query. APPLY: the piece of memory, which begins with the entries */
    size_t data_len;
    uint64_t snapshot;         /* SNAPSHOT_WRITE, SNAPSHOT_RELEASE */
    oar_writer *writer;        /* SNAPSHOT_WRITE: until it is done */
    oar_reader *reader;        /* RESTORE: until it is done */
    uint64_t index;            /* EXPIRE: the clock entry's */
    int64_t time;              /* EXPIRE: cluster time */
} oar_work;

/* Fetches the next piece of work of one of the kinds in `kinds`; OAR_ERR_TIMEOUT if there is none. It is valid until it is
 * reported done. The calling thread is in a callback, as it were, until then. Threads may come before oar_server_start. After
 * close: what is left of OAR_WORK_SNAPSHOT_RELEASE, then OAR_OK with kind OAR_WORK_CLOSED. */
OAR_API oar_status oar_work_next(oar_server *server, uint32_t kinds, int64_t timeout, oar_work *work);

/* Reports work done, once, on the thread that fetched it. OAR_ERR_ARGUMENT for a frame that cannot be: the work is still
 * owed; OAR_ERR_ORDER for an id that this thread does not owe. With status OAR_OK, data is what the kind asks for. A
 * results frame is, for each entry in order, the length of its result as a 32-bit number in the machine's byte order, and
 * then all results, one behind the other. With another status data is the failure's text, and what it means is what the
 * callback's would. */
OAR_API oar_status oar_work_done(oar_server *server, uint64_t id, oar_status status, const void *data, size_t data_len);

/* For a host whose threads are gone, at its exit: fails all work, fetched or not, and all that comes, as closed. */
OAR_API oar_status oar_work_abandon(oar_server *server);

/* ---- Members and leadership -------------------------------------------------------------------------------------- */

/* A membership is changed by saying what is to become of members. All changes of one order are done together, or none of
 * them. Who is to become a voter receives the log first and counts once it has caught up; the rest is done by whichever
 * server leads, also if the one that was asked fails. */
typedef struct oar_change {
    uint32_t struct_size;      /* the same in all changes of an array */
    uint32_t kind;             /* OAR_CHANGE_ */
    uint64_t id;               /* of the server */
    unsigned char store[16];   /* ADD_VOTER, ADD_LEARNER, REPLACE: its store's (oar_server_identity), else zeros */
    const char *address;       /* ADD_VOTER, ADD_LEARNER, ADDRESS: where others reach it; REPLACE: NULL leaves it as it is */
} oar_change;

#define OAR_CHANGE_ADD_VOTER 1u   /* a server that is no member yet, or a learner, is to vote */
#define OAR_CHANGE_ADD_LEARNER 2u /* a server that is no member yet receives the log and does not vote */
#define OAR_CHANGE_PROMOTE 3u     /* a learner becomes a voter */
#define OAR_CHANGE_DEMOTE 4u      /* a voter becomes a learner */
#define OAR_CHANGE_REMOVE 5u
#define OAR_CHANGE_REPLACE 6u     /* the server under that id lost its disk: one with another store takes its place */
#define OAR_CHANGE_ADDRESS 7u     /* where the member is reached from now on */

/* What is asked of a group's members or of its leadership. The functions that wait take what they need of it; `kind` says
 * what it is where one function takes all kinds. */
typedef struct oar_order {
    uint32_t struct_size;
    uint32_t kind;              /* OAR_ORDER_; 0 with a function that has a kind */
    uint64_t group;
    const oar_change *changes;  /* CHANGE, PLAN; NULL with OAR_ORDER_CANCEL. Read before the function returns */
    size_t change_count;        /* at most 256 */
    uint64_t from;              /* CHANGE, PLAN: the index of the membership that is expected to be there (OAR_ERR_CHANGE_MOVED if it
                                 * is another one), OAR_FROM_BIRTH for one whose index is 0; 0: whichever is there */
    uint64_t to;                /* TRANSFER: the id of who is to lead; 0: the best */
    uint32_t flags;             /* CHANGE, PLAN: OAR_ORDER_FORCED, or OAR_ORDER_CANCEL */
    uint32_t reserved;          /* 0 */
    int64_t timeout;            /* as in oar_propose_options */
} oar_order;

#define OAR_ORDER_CHANGE 1u    /* the answer is a membership */
#define OAR_ORDER_PLAN 2u      /* the answer is a plan */
#define OAR_ORDER_MEMBERS 3u   /* the answer is a membership */
#define OAR_ORDER_TRANSFER 4u  /* the answer is empty */
#define OAR_ORDER_STEP_DOWN 5u /* the answer is empty */

/* In `from`: the membership that the group was born with. Its index is 0, because no entry brought it, and 0 is whichever is there. No
 * other membership ever has this index: the entry is the first leader's, which is empty. */
#define OAR_FROM_BIRTH 1u

#define OAR_ORDER_FORCED 1u /* without the checks that keep a group from standing still */
#define OAR_ORDER_CANCEL 2u /* gives up the change that is open, while servers only catch up; no changes with it */

/* Changes the membership and waits until that is done and committed: *result is the membership then, for oar_membership_read.
 * Asking for what is so, or is under way, is no error, so that whoever lost the answer asks again. After
 * OAR_ERR_CHANGE_IMPOSSIBLE, _OPEN, _MOVED and _UNSAFE nothing was begun; after OAR_ERR_CHANGE_GIVEN_UP all is as before. When the time is
 * over, or leadership was lost: OAR_ERR_UNKNOWN, and the change goes on. Asked at the leader, else OAR_ERR_NOT_LEADER. OAR_ERR_BUSY: nothing
 * was begun, because the leader does not know enough yet, just after an election for instance; the text says what it waits for, which
 * passes by itself. A client asks again until then. */
OAR_API oar_status oar_change_membership(oar_server *server, const oar_order *order, int64_t timeout, void **result,
                                         size_t *result_len);

/* What the same order would do now, for oar_plan_read. Nothing is done. Why it would be refused stands in the plan. */
OAR_API oar_status oar_plan_membership(oar_server *server, const oar_order *order, int64_t timeout, void **result,
                                       size_t *result_len);

/* The membership that is committed, for oar_membership_read, as it was at some moment after the call began. */
OAR_API oar_status oar_members(oar_server *server, uint64_t group, int64_t timeout, void **result, size_t *result_len);

/* Has this server, which leads, hand leadership to a voter, or to the best if `to` is 0, and waits until it has gone: it is no
 * error if `to` leads already. What is proposed meanwhile waits and is not lost. After OAR_ERR_TRANSFER_FAILED this server
 * leads on; after OAR_ERR_TRANSFER_TARGET and _OPEN nothing was begun. */
OAR_API oar_status oar_transfer_leadership(oar_server *server, uint64_t group, uint64_t to, int64_t timeout);

/* Has this server, which leads, give leadership up: to the best successor, or where there is none to nobody. */
OAR_API oar_status oar_step_down(oar_server *server, uint64_t group, int64_t timeout);

/* Any order without waiting, in the ways of proposals; giving a call up does not take back what it asked for. */
OAR_API oar_status oar_order_async(oar_server *server, const oar_order *order, oar_completion_callback callback, void *user_data);
OAR_API oar_status oar_order_queued(oar_server *server, const oar_order *order, oar_queue *queue, uint64_t tag);
OAR_API oar_status oar_order_start(oar_server *server, const oar_order *order, oar_call **call);

/* Memberships and plans are bytes for the functions below, which are plain C, wait for nothing, and may be called in
 * callbacks: OAR_ERR_MALFORMED for other bytes, OAR_ERR_NOT_FOUND for a number that is too high. Texts that they give point into the
 * bytes and live as long. */
typedef struct oar_membership {
    uint32_t struct_size;
    uint32_t flags;     /* OAR_MEMBERSHIP_ bits */
    uint64_t index;     /* the entry that brought it: `from` of an order; 0 of the one that the group was born with, which `from`
                         * calls OAR_FROM_BIRTH, and in a plan's stages */
    uint32_t members;   /* for oar_member_read */
    uint32_t voters;    /* of them */
    uint32_t learners;
    uint32_t reserved;
} oar_membership;

#define OAR_MEMBERSHIP_CHANGING 1u /* a change is open */
#define OAR_MEMBERSHIP_JOINT 2u    /* a majority of the voters and one of the outgoing are needed */

typedef struct oar_member {
    uint32_t struct_size;
    uint32_t roles;            /* OAR_MEMBER_ bits */
    uint64_t id;
    unsigned char store[16];
    const char *address;       /* lives as long as the bytes */
} oar_member;

#define OAR_MEMBER_VOTER 1u
#define OAR_MEMBER_OUTGOING 2u        /* votes until the change that is open has ended */
#define OAR_MEMBER_LEARNER 4u
#define OAR_MEMBER_WANTED_VOTER 8u    /* votes when the change that is open has ended */
#define OAR_MEMBER_WANTED_LEARNER 16u /* learns when it has ended */

OAR_API oar_status oar_membership_read(const void *result, size_t result_len, oar_membership *membership);
OAR_API oar_status oar_member_read(const void *result, size_t result_len, uint32_t number, oar_member *member);

typedef struct oar_plan {
    uint32_t struct_size;
    oar_status refused;        /* what the order would be refused with now; OAR_OK: it would begin, or is done already */
    const char *refused_text;  /* empty with OAR_OK */
    uint32_t committed;        /* 1: the membership that there is, is known to be committed */
    uint32_t stages;           /* memberships that would be appended, one after the other; 0: it is so already */
    uint32_t members;          /* for oar_plan_member_read: all who are in one of the memberships */
    int32_t before;            /* how many more of the voters that are heard of may fail before nothing can be decided any more: */
    int32_t during;            /* in the stage that bears least, */
    int32_t after;             /* and at the end. Negative: so many are missing already. Newcomers count as heard of */
} oar_plan;

typedef struct oar_plan_member {
    uint32_t struct_size;
    uint32_t flags;            /* OAR_PLAN_ bits */
    uint64_t id;
    unsigned char store[16];
    const char *address;
    int64_t silent;            /* since it was last heard of, in nanoseconds; negative: never */
    uint64_t behind;           /* entries that it lacks, as far as is known; 0 where it is not fed yet */
} oar_plan_member;

#define OAR_PLAN_VOTES 1u
#define OAR_PLAN_LEARNS 2u
#define OAR_PLAN_WILL_VOTE 4u
#define OAR_PLAN_WILL_LEARN 8u
#define OAR_PLAN_HEARD 16u /* has answered within an election timeout */

OAR_API oar_status oar_plan_read(const void *result, size_t result_len, oar_plan *plan);
OAR_API oar_status oar_plan_member_read(const void *result, size_t result_len, uint32_t number, oar_plan_member *member);

/* The bytes of one of the plan's memberships, which are a part of the plan's: number 0 is the one that there is, 1 to `stages`
 * are those that would be appended. */
OAR_API oar_status oar_plan_stage(const void *result, size_t result_len, uint32_t number, const void **stage, size_t *stage_len);

/* ---- Client ------------------------------------------------------------------------------------------------------ */

typedef struct oar_client_options {
    uint32_t struct_size;
    uint32_t flags;                  /* OAR_CLIENT_ bits */
    const char *servers;             /* addresses of servers, with commas between; NULL: those of the configuration */
    uint64_t group;
    uint32_t outstanding_max;        /* calls under way at once; further ones wait in order: 1024, in a session 256 */
    uint32_t reserved;               /* 0 */
    uint64_t outstanding_bytes_max;  /* of proposals under way: 64 MiB */
    uint64_t response_bytes_max;     /* the longest response that is read: 4 MiB */
    int64_t dial_timeout;            /* for a connection and its first answer: 3 s */
    int64_t silence_max;             /* how long a server that owes an answer may be silent: 3 s */
    int64_t backoff_min;             /* the pause between rounds of attempts: 10 ms */
    int64_t backoff_max;             /* 250 ms */
    int64_t close_timeout;           /* 1 s */
} oar_client_options;

#define OAR_CLIENT_SESSIONLESS 1u /* no session: many more proposals at once, but a lost connection leaves them unknown */
#define OAR_CLIENT_READ_ANY 2u    /* queries are answered by any server, one for many queries; without it the leader answers */

/* Makes a client of the cluster that a configuration describes (its members' addresses, its TLS), or of the servers that
 * the options name; either may be NULL, not both. It connects when the first call needs it. With TLS a client has files of its
 * own, which the servers' file does not name: set "tls.certificate" and "tls.key" with oar_config_set, or load a file that
 * names them. */
OAR_API oar_status oar_client_open(oar_config *config, const oar_client_options *options, oar_client **client);

/* Like their namesakes of a server, for whichever server leads: they find it, follow it, and try again until the time is
 * over: OAR_ERR_UNKNOWN, or OAR_ERR_NOT_SENT, with cause OAR_ERR_TIMEOUT. Proposals are in the client's own session and are
 * executed exactly once. options may be NULL; of their members timeout and consistency are for clients. */
OAR_API oar_status oar_client_propose(oar_client *client, const oar_propose_options *options, const void *command,
                                      size_t command_len, int64_t timeout, void **result, size_t *result_len);
OAR_API oar_status oar_client_query(oar_client *client, const oar_query_options *options, const void *query,
                                    size_t query_len, int64_t timeout, void **answer, size_t *answer_len);
OAR_API oar_status oar_client_barrier(oar_client *client, int64_t timeout);
OAR_API oar_status oar_client_propose_async(oar_client *client, const oar_propose_options *options, const void *command,
                                            size_t command_len, oar_completion_callback callback, void *user_data);
OAR_API oar_status oar_client_query_async(oar_client *client, const oar_query_options *options, const void *query,
                                          size_t query_len, oar_completion_callback callback, void *user_data);
OAR_API oar_status oar_client_propose_queued(oar_client *client, const oar_propose_options *options, const void *command,
                                             size_t command_len, oar_queue *queue, uint64_t tag);
OAR_API oar_status oar_client_query_queued(oar_client *client, const oar_query_options *options, const void *query,
                                           size_t query_len, oar_queue *queue, uint64_t tag);
OAR_API oar_status oar_client_propose_start(oar_client *client, const oar_propose_options *options, const void *command,
                                            size_t command_len, oar_call **call);
OAR_API oar_status oar_client_query_start(oar_client *client, const oar_query_options *options, const void *query,
                                          size_t query_len, oar_call **call);

/* The highest index that an answer to this client has reflected; 0: none yet. No query of it with OAR_BOUNDED goes behind that,
 * whichever server answers. As min_index of another client's query it has that one see as much. */
OAR_API oar_status oar_client_seen(oar_client *client, uint64_t *index);

/* Like their namesakes of a server, for whichever server leads: the client finds it, and asks again where that is safe, which
 * it is but for step-downs and for transfers to nobody in particular. That nothing was begun is said of the last attempt: where an
 * earlier one may have been carried out, the status is OAR_ERR_UNKNOWN and that is its cause. An order's group must be 0. */
OAR_API oar_status oar_client_change_membership(oar_client *client, const oar_order *order, int64_t timeout, void **result,
                                                size_t *result_len);
OAR_API oar_status oar_client_plan_membership(oar_client *client, const oar_order *order, int64_t timeout, void **result,
                                              size_t *result_len);
OAR_API oar_status oar_client_members(oar_client *client, int64_t timeout, void **result, size_t *result_len);
OAR_API oar_status oar_client_transfer_leadership(oar_client *client, uint64_t to, int64_t timeout);
OAR_API oar_status oar_client_step_down(oar_client *client, int64_t timeout);
OAR_API oar_status oar_client_order_async(oar_client *client, const oar_order *order, oar_completion_callback callback,
                                          void *user_data);
OAR_API oar_status oar_client_order_queued(oar_client *client, const oar_order *order, oar_queue *queue, uint64_t tag);
OAR_API oar_status oar_client_order_start(oar_client *client, const oar_order *order, oar_call **call);

/* What the server that the client is connected to knows of itself, and who belongs to the group, as JSON. */
OAR_API oar_status oar_client_status_json(oar_client *client, int64_t timeout, char **json);
OAR_API oar_status oar_client_members_json(oar_client *client, int64_t timeout, char **json);

/* Ends every call: OAR_ERR_UNKNOWN for what was sent, else OAR_ERR_CLOSED. Closing what is closed is fine. */
OAR_API oar_status oar_client_close(oar_client *client);

/* Closes if need be and releases the handle. NULL is fine. */
OAR_API oar_status oar_client_free(oar_client *client);

/* ---- Events ------------------------------------------------------------------------------------------------------ */

/* X(name, number, text); the comment of oar_event says which members each one uses. */
#define OAR_EVENT_LIST(X)                                                                                              \
    X(OAR_EVENT_LOG, 1, "log")                                                                                         \
    X(OAR_EVENT_ROLE, 2, "role")                                                                                       \
    X(OAR_EVENT_LEADER, 3, "leader")                                                                                   \
    X(OAR_EVENT_MEMBERSHIP, 4, "membership")                                                                           \
    X(OAR_EVENT_SNAPSHOT, 5, "snapshot")                                                                               \
    X(OAR_EVENT_SNAPSHOT_FETCH, 6, "snapshot fetch")                                                                   \
    X(OAR_EVENT_INSTALLED, 7, "installed")                                                                             \
    X(OAR_EVENT_COMPACTED, 8, "compacted")                                                                             \
    X(OAR_EVENT_DROPPED_MESSAGE, 9, "dropped message")                                                                 \
    X(OAR_EVENT_TROUBLE, 10, "trouble")                                                                                \
    X(OAR_EVENT_FENCED, 11, "fenced")                                                                                  \
    X(OAR_EVENT_DROPPED_EVENTS, 12, "dropped events")                                                                  \
    X(OAR_EVENT_SLOW_APPLY, 13, "slow apply")                                                                          \
    X(OAR_EVENT_CHANGE_ENDED, 14, "membership change ended")                                                           \
    X(OAR_EVENT_CHANGE_GIVEN_UP, 15, "membership change given up")                                                     \
    X(OAR_EVENT_TRANSFER_ENDED, 16, "leadership transfer ended")                                                       \
    X(OAR_EVENT_REMOVED, 17, "removed")

enum oar_event_number {
#define OAR_EVENT_MEMBER_(name, number, text) name = number,
    OAR_EVENT_LIST(OAR_EVENT_MEMBER_)
#undef OAR_EVENT_MEMBER_
    OAR_EVENT_MAX_ = 9999
};

typedef struct oar_event {
    uint32_t struct_size;
    uint32_t kind;       /* OAR_EVENT_; a number that is not in this header is of a newer library: ignore it */
    uint64_t group;
    uint64_t term;       /* ROLE, LEADER */
    uint64_t index;      /* MEMBERSHIP, SNAPSHOT ..., COMPACTED, SLOW_APPLY, CHANGE_ ..., REMOVED: an entry's */
    uint64_t server;     /* ROLE, LEADER: the leader, 0: none; SNAPSHOT_FETCH, DROPPED_MESSAGE: the peer; CHANGE_GIVEN_UP: the
                          * newcomer that it failed on, 0: none; TRANSFER_ENDED: who was to take over; REMOVED: this server */
    uint32_t role;       /* ROLE: OAR_ROLE_ */
    uint32_t reserved;
    uint64_t dropped;    /* DROPPED_EVENTS: how many did not fit */
    int64_t elapsed;        /* SLOW_APPLY: how long it took */
    const char *text;       /* of what failed, of LOG, of REMOVED what to do; else empty. Valid until the next oar_events_next of this handle */
    const char *component;  /* LOG: as in oar_log_record */
    int32_t level;          /* LOG: as in oar_log_record */
    uint32_t reserved2;
} oar_event;

typedef struct oar_events_options {
    uint32_t struct_size;
    uint32_t flags;          /* 0 */
    uint32_t room;           /* for so many events that were not taken: 1024, at least 2 */
    uint32_t reserved;       /* 0 */
    const char *log_levels;  /* what of the log comes as OAR_EVENT_LOG, as in oar_server_options; NULL: nothing */
} oar_events_options;

/* Subscribes to what happens on a server, from its start on. A slow reader delays nobody: what does not fit is dropped,
 * counted, and told as OAR_EVENT_DROPPED_EVENTS. options may be NULL. */
OAR_API oar_status oar_events_open(oar_server *server, const oar_events_options *options, oar_events **events);

/* Takes the next event, waiting for it. OAR_ERR_CLOSED when the server has closed and everything was taken. One thread at a
 * time takes from a subscription. */
OAR_API oar_status oar_events_next(oar_events *events, int64_t timeout, oar_event *event);

/* Ends the subscription. NULL is fine. */
OAR_API oar_status oar_events_free(oar_events *events);

/* ---- For tests: a cluster in memory ------------------------------------------------------------------------------ */

/* The servers of a cluster in one process, on disks and a network in memory, for the tests of an application. They are the
 * servers that ship, on real threads and in real time; there are no ports and no files to clean up.
 *
 * Servers have the ids 1, 2, 3 ... A server that is started has an ordinary oar_server, for every function of this header but
 * those that open, start, close or free it (OAR_ERR_ORDER): that is the cluster's. In callbacks, all functions of a cluster
 * return OAR_ERR_WOULD_DEADLOCK but oar_cluster_split, _cut and _heal. */

/* Makes a state machine with nothing in it: *machine_user_data is what the callbacks of oar_state_machine get, the vtable's
 * destroy is what releases it. It is another one each time: servers with one state between them agree with each other whatever it
 * does, and no cluster notices (oar_state_machine_check does). `number` counts the machines of a check or a simulation from 1 up; of a
 * cluster it is the id of the server that starts. A callback, on the thread that called the library. A failure (oar_fail) is what its
 * caller gets, as OAR_ERR_STATE_MACHINE, and nothing is released. */
typedef oar_status (*oar_machine_factory)(void *user_data, uint64_t number, void **machine_user_data);

typedef struct oar_cluster_options {
    uint32_t struct_size;
    uint32_t flags;                    /* OAR_CLUSTER_ bits */
    uint32_t servers;                  /* from 1 to 9: 3 */
    uint32_t pull_flags;               /* with OAR_CLUSTER_PULL: OAR_PULL_ bits */
    const oar_state_machine *machine;  /* push: copied; what the machines of all servers can do */
    oar_machine_factory machine_new;   /* push: called whenever a server starts, which has only its disk from before */
    void *machine_new_user_data;
    oar_config *config;                /* its timing, snapshots, limits, sizes and its members' priorities are used. NULL: defaults, with
                                        * short times */
} oar_cluster_options;

#define OAR_CLUSTER_PULL 1u /* threads of the host fetch the work of each server: oar_cluster_server, oar_work_next */

/* Makes the disks and the network. No server runs yet. The configuration is copied. */
OAR_API oar_status oar_cluster_new(const oar_cluster_options *options, oar_cluster **cluster);

/* Starts a server on what its disk holds; 0: all that do not run. It does not wait for the state machine. OAR_ERR_ORDER if it
 * runs. OAR_ERR_NOT_FOUND, here and below, for an id that the cluster does not have. */
OAR_API oar_status oar_cluster_start(oar_cluster *cluster, uint64_t server_id);

/* A server that was started, also when it has stopped again: it is closed then. The handle is the cluster's, and good until the
 * server is started again or the cluster freed. With OAR_CLUSTER_PULL the threads for the new one are the host's to start. */
OAR_API oar_status oar_cluster_server(oar_cluster *cluster, uint64_t server_id, oar_server **server);

/* Makes one more server, with the next id, on an empty disk, and says in *change how the group is to take it: kind is
 * OAR_CHANGE_ADD_VOTER, which may be changed, and address lives as long as the cluster. It does not run yet, and it is no member before
 * a client has ordered that. A cluster has at most 16. OAR_ERR_ORDER if it has. */
OAR_API oar_status oar_cluster_add(oar_cluster *cluster, oar_change *change);

/* Gives a server that does not run an empty disk with a new store, as if it had been formatted to join, and says in *change how the
 * group is to take it: OAR_CHANGE_REPLACE. OAR_ERR_ORDER if it runs. */
OAR_API oar_status oar_cluster_replace(oar_cluster *cluster, uint64_t server_id, oar_change *change);

/* Waits until a server that runs is the leader, of which a majority knows, and gives its id. It may change at any time. */
OAR_API oar_status oar_cluster_leader(oar_cluster *cluster, int64_t timeout, uint64_t *server_id);

/* Waits until every server that runs has applied every command that was answered to anyone before; but for servers that were removed
 * from the group, or not added yet. OAR_ERR_FENCED if one of them has stopped by itself. */
OAR_API oar_status oar_cluster_settle(oar_cluster *cluster, int64_t timeout);

/* Makes a client of the cluster, to be freed by oar_client_free before or after the cluster. It reaches every server that runs:
 * the network's cuts are between servers. options may be NULL; of their members `servers` must be. */
OAR_API oar_status oar_cluster_client(oar_cluster *cluster, const oar_client_options *options, oar_client **client);

/* Stops a server as oar_server_close does, 0: all; the machine is destroyed before it returns OAR_OK. Stopping what does not run is
 * fine. If something is stuck it fails with its name, and stopping may be tried again. */
OAR_API oar_status oar_cluster_stop(oar_cluster *cluster, uint64_t server_id);

/* The same for the host's process, but to its disk it is a power cut: what was not synced when this was called is lost. */
OAR_API oar_status oar_cluster_crash(oar_cluster *cluster, uint64_t server_id);

/* Cuts the network both ways between these servers and all others; between servers of one side it is whole. */
OAR_API oar_status oar_cluster_split(oar_cluster *cluster, const uint64_t *server_ids, size_t count);

/* Loses everything that one server sends to another, also what is under way. The way back stays. */
OAR_API oar_status oar_cluster_cut(oar_cluster *cluster, uint64_t from, uint64_t to);

/* Makes the network whole. */
OAR_API oar_status oar_cluster_heal(oar_cluster *cluster);

/* Stops every server, destroys the machines and releases the handle; threads that wait in the cluster or its servers come out
 * first. NULL is fine. If something is stuck, it fails with its name and the handle remains. */
OAR_API oar_status oar_cluster_free(oar_cluster *cluster);

/* ---- For tests: checking a state machine ------------------------------------------------------------------------- */

/* Two calls that find out whether a state machine keeps its promises: that the same commands give the same results and the same
 * state, that a restored snapshot equals what was captured, that a capture is of one point in time, that queries change nothing.
 *
 * All callbacks come on the calling thread, one after the other, and none after the call has returned. What a server would do
 * beside commands, on another thread, is done between them: a capture is written after later commands. Where a callback does not
 * return, the call does not either.
 *
 * States are compared by state_hash, which is worth having; without it by the bytes of snapshots. So a machine without
 * snapshot_write and restore is OAR_ERR_ARGUMENT.
 *
 * A callback that returns OAR_ERR_CANCELLED ends the check, which returns that: for a host that is to stop, or whose callback
 * failed for a reason of its own. Any other failure is the machine's, and a finding; but for one of query, which is an answer. Of
 * query, too, it is a finding to return what is no status, or OAR_ERR_ARGUMENT: what oar_buf_append says of NULL with a length. */

/* Makes a command, or a query, of `random` and nothing else, with oar_buf_append: the same number makes the same one. What comes
 * from elsewhere (rand(), a clock, a static variable) is not repeated by a seed. A failure (oar_fail) ends the check, which returns it. */
typedef oar_status (*oar_generator)(void *user_data, uint64_t random, oar_buf *made);

typedef struct oar_check_options {
    uint32_t struct_size;
    uint32_t flags;                    /* OAR_CHECK_ bits */
    const oar_state_machine *machine;  /* what the machines can do */
    oar_machine_factory machine_new;   /* makes one; it is destroyed before the check ends */
    oar_generator command;             /* one that the machine understands; some are damaged on purpose. NULL: random bytes */
    oar_generator query;               /* NULL: as command */
    void *user_data;                   /* of machine_new, command and query */
    uint64_t seed;                     /* chooses commands, queries and damage; here and below 0 is the default: 1 */
    uint32_t commands;                 /* how many a run has: 300 */
    uint32_t clusters;                 /* oar_sim_run: how many there are: 20 */
    uint64_t clusters_from;            /* oar_sim_run: the seed of the first, the next has the one after it: 1 */
} oar_check_options;

#define OAR_CHECK_SNAPSHOTS_VARY 1u      /* equal states may have different snapshots: compare without them */
#define OAR_CHECK_SNAPSHOTS_UNCHECKED 2u /* restore need not notice a damaged byte (it must notice a missing end) */

/* Checks one machine after the other, called directly: milliseconds, to be run with every change. OAR_ERR_CHECK_FAILED if a promise
 * is broken: oar_last_error() says which, by which command, with the hashes of the two states that had to be the same, the few
 * commands that are enough, and the seed that repeats it. The same and more as JSON is in *report, with OAR_OK and with
 * OAR_ERR_CHECK_FAILED; report may be NULL.
 *
 * The report's "final" is the hash of the state after the last command: of state_hash, or else of a snapshot, a string of 16
 * hexadecimal digits, "" where it cannot be had. With the same options it is the same in every process, on every machine and with
 * every version of the program that replicates with this one: a test may pin it, and so finds what all machines in one process
 * have in common (the environment, a hash that is seeded once a process). */
OAR_API oar_status oar_state_machine_check(const oar_check_options *options, char **report);

/* The above, and if it finds nothing, simulated clusters of the machine: on servers that crash, restart and restore snapshots, while
 * clients try their commands again, in virtual time; seconds, before a machine is trusted. A seed says everything about a
 * cluster. The report has its story. */
OAR_API oar_status oar_sim_run(const oar_check_options *options, char **report);

#ifdef __cplusplus
}
#endif

#endif /* OARLOCK_H */
