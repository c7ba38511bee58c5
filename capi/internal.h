/* What the C files of the library share. Nothing here is visible outside. */
#ifndef OAR_INTERNAL_H
#define OAR_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "oarlock.h"

#define OAR_VERSION "0.1.0"

/* ---- The calling thread (thread.c) ---- */

/* What the library keeps of a thread. A thread has one pointer of thread-local storage; this hangs on it. */
struct oar_thread {
    int callbacks; /* depth of callbacks, and of work that was fetched and not reported */
    const void *owes; /* the handle of the server whose work that is */
    oar_error_detail detail;
    char *text; /* of the last failure */
    size_t text_cap;
    char *address; /* of the leader in the last failure */
    size_t address_cap;
    char *fail_text; /* of oar_fail, until its callback returns */
    /* While answers are delivered: the door for which calls are held back, to go in together, and these, newest first. */
    const struct oar_door *holding;
    struct oar_call_object *held, *held_first;
    size_t held_count;
};

extern atomic_bool oar_forked;

struct oar_thread *oar_thread_mine(void); /* NULL: out of memory */

/* How something failed. Texts need not end with a zero, and are their owner's. */
struct oar_failure {
    oar_status status, cause;
    const char *text; /* NULL: that of the status */
    size_t text_len;
    uint64_t leader;
    const char *address;
    size_t address_len;
    int32_t system_error;
    uint64_t index; /* of an answer that is an error: what it reflects; 0: not known */
};

/* Notes a failure for oar_last_error and returns its status. The format may be NULL: the status' own text. */
oar_status oar_failed(oar_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
oar_status oar_failed_by(oar_status status, oar_status cause, const char *text);
oar_status oar_failed_with(const struct oar_failure *failure);
/* The class bits of a status with its cause. */
uint32_t oar_class_of(oar_status status, oar_status cause);

/* The first line of every function that is not said to work after fork. */
#define OAR_ENTER()                                                                                                    \
    do {                                                                                                               \
        if (atomic_load_explicit(&oar_forked, memory_order_relaxed)) return oar_failed(OAR_ERR_FORKED, NULL);          \
    } while (0)

/* For functions that wait, or that hold what a callback may be holding: not in a callback. */
oar_status oar_may_wait(void);
oar_status oar_check_timeout(int64_t timeout);

/* Around a callback. leave returns the text that oar_fail gave, the caller's to free, or NULL. */
void oar_callback_enter(void);
char *oar_callback_leave(void);

/* Structs of the caller. oar_take copies one that it filled in, of whatever version, to `to` (size bytes); what it does not
 * have is zero. oar_give writes `from` to one that it wants filled in. first is the size of the first version. */
oar_status oar_take(void *to, size_t size, const void *from, const char *name, size_t first);
oar_status oar_give(void *to, const void *from, size_t size, const char *name, size_t first);

/* The size of a struct that ends before a member: of the version before that had it. */
#define OAR_UP_TO(type, member) offsetof(type, member)

#define OAR_TRY(expression)                                                                                            \
    do {                                                                                                               \
        oar_status try_ = (expression);                                                                                \
        if (try_ != OAR_OK) return try_;                                                                               \
    } while (0)

/* ---- Memory (thread.c): counted, for oar_debug_counts ---- */

void *oar_alloc(size_t bytes);     /* zeroed */
void *oar_alloc_raw(size_t bytes); /* as it comes: faster, as malloc keeps small pieces of a thread at hand and calloc does not */
void oar_release(void *memory, size_t bytes);
extern atomic_ullong oar_bytes_held;

/* ---- Time (thread.c) ---- */

/* The monotonic time at which a timeout ends. */
struct timespec oar_deadline(int64_t timeout);
/* A condition variable whose deadlines are of that time. */
void oar_cond_init(pthread_cond_t *cond);

/* ---- Handles (handle.c) ---- */

enum oar_type { OAR_CONFIG = 1, OAR_SERVER, OAR_CLIENT, OAR_CALL, OAR_QUEUE, OAR_EVENTS, OAR_CLUSTER, OAR_TYPES };

/* Gives an object a handle; NULL: out of memory. */
void *oar_handle_new(enum oar_type type, void *object);
/* The object, which stays until oar_handle_leave, or NULL with the failure noted. */
void *oar_handle_enter(const void *handle, enum oar_type type);
void oar_handle_leave(const void *handle);
/* Takes a handle out of use: waits until nobody is inside and returns the object, or NULL with the failure noted. */
void *oar_handle_end(const void *handle, enum oar_type type);
/* The same in two halves: after begin nobody comes in any more, and `finish` waits for those inside. */
void *oar_handle_end_begin(const void *handle, enum oar_type type);
void oar_handle_end_finish(const void *handle);
uint32_t oar_handle_count(enum oar_type type);

/* ---- Requests (request.c) ---- */

enum oar_op {
    OAR_OP_PROPOSE = 1,
    OAR_OP_QUERY,
    OAR_OP_BARRIER,
    OAR_OP_SESSION_OPEN,
    OAR_OP_SESSION_KEEP,
    OAR_OP_SESSION_CLOSE,
    OAR_OP_CHANGE,
    OAR_OP_PLAN,
    OAR_OP_MEMBERS,
    OAR_OP_TRANSFER,
    OAR_OP_STEP_DOWN,
    OAR_OP_STATUS_JSON, /* a client's, like the next */
    OAR_OP_MEMBERS_JSON
};

/* What a call asks for. Go reads the fields. */
struct oar_request {
    enum oar_op op;
    uint64_t group, session, sequence, floor;
    uint32_t consistency;         /* of a query or barrier, like the next */
    int64_t max_age;
    uint64_t min_index;
    uint64_t to;     /* of a transfer */
    int64_t timeout; /* of a call that nobody waits for; 0: none */
    const void *body;
    size_t body_len;
};

struct oar_call_object;

/* Where calls wait to be handed to Go. A call from C into Go is cheap when one thread makes it and dear when hundreds do
 * at once, more than there are processors: so whoever finds the door empty goes through and takes all that have come
 * meanwhile. Go empties it, in order. */
struct oar_door {
    _Atomic(struct oar_call_object *) pending; /* the newest first */
};

/* ---- Calls (call.c) ---- */

enum oar_call_way { OAR_WAITED, OAR_CALLED_BACK, OAR_QUEUED };

struct oar_queue_object;

/* A proposal, query or other request under way. It belongs to whoever waits and to the library: refs. */
struct oar_call_object {
    atomic_int refs;
    enum oar_call_way way;
    bool proposes; /* when time is over, nobody knows */
    bool taken;    /* the answer was handed out */
    atomic_bool completed;
    atomic_bool given_up;
    sem_t done; /* of OAR_WAITED: posted when it completed or was given up */
    oar_completion_callback callback;
    void *user_data;
    struct oar_queue_object *queue;
    struct oar_call_object *next; /* at the door, later in the queue */
    struct oar_request request;
    oar_completion completion;    /* result and texts are owned, unless it is being called back */
    uintptr_t client;             /* the client's, for oargo_client_cancel; 0: it is a server's */
    size_t body_len;
    size_t size; /* of this memory */
    unsigned char body[];
};

extern atomic_uint oar_calls_under_way;

/* A call with a copy of body; NULL with the failure noted. It has two references: the caller's and the library's. */
struct oar_call_object *oar_call_new(enum oar_call_way way, const void *body, size_t body_len);
void oar_call_unref(struct oar_call_object *call);
/* Called by the library exactly once. The memory of the arguments stays the caller's. Gives up the library's reference. */
void oar_call_succeed(struct oar_call_object *call, const void *result, size_t result_len, uint64_t index);
void oar_call_fail(struct oar_call_object *call, const struct oar_failure *failure);
/* Waits; false: the deadline passed, or with interruptible a signal came (*interrupted). */
bool oar_call_await(struct oar_call_object *call, const struct timespec *deadline, bool interruptible, bool *interrupted);
/* Empties where an answer goes, and checks it. */
oar_status oar_answer_place(void **result, size_t *result_len);
/* Answers of calls, delivered together. Go fills them in. */
struct oar_answer {
    struct oar_call_object *call;
    const void *result;
    size_t result_len;
    uint64_t index; /* that it reflects; 0: not known */
};

/* Completes calls. What their callbacks submit at this door goes in together. */
void oar_calls_succeed(const struct oar_answer *answers, size_t count, struct oar_door *door, enum oar_type type,
                       uintptr_t go);
/* Hands the answer of a completed call out. */
oar_status oar_call_answer(struct oar_call_object *call, void **result, size_t *result_len);
/* Waits until the deadline and hands out; what is given up by then is unknown, or timed out. Releases the call. */
oar_status oar_call_finish(struct oar_call_object *call, int64_t timeout, void **result, size_t *result_len);

/* Calls that are submitted at a door by this thread are held back between these two. */
void oar_door_hold(const struct oar_door *door);
void oar_door_release(struct oar_door *door, enum oar_type type, uintptr_t go);

/* A request without a body; group 0 is the default one. */
struct oar_request oar_request_plain(enum oar_op op, uint64_t group);
/* Asks a server or a client (OAR_SERVER, OAR_CLIENT), each in its way. */
oar_status oar_request_called_back(const void *handle, enum oar_type type, const struct oar_request *request,
                                   oar_completion_callback callback, void *user_data);
oar_status oar_request_queued(const void *handle, enum oar_type type, const struct oar_request *request, oar_queue *queue,
                              uint64_t tag);
oar_status oar_request_start(const void *handle, enum oar_type type, const struct oar_request *request, oar_call **call);
oar_status oar_request_wait(const void *handle, enum oar_type type, const struct oar_request *request, int64_t timeout,
                            void **result, size_t *result_len);

/* ---- Queues (queue.c) ---- */

/* Takes a reference for a call that the queue will get. */
oar_status oar_queue_expect(oar_queue *queue, struct oar_call_object *call);
void oar_queue_put(struct oar_queue_object *queue, struct oar_call_object *call);
void oar_queue_unexpect(struct oar_call_object *call);

/* ---- State machines (machine.c, work.c) ---- */

/* What takes bytes that grow. Go reads the fields. */
struct oar_bytes {
    unsigned char *at;
    size_t len;
    size_t cap;
};

oar_status oar_bytes_append(struct oar_bytes *b, const void *piece, size_t piece_len);
void oar_bytes_free(struct oar_bytes *b);

struct oar_results {
    struct oar_bytes bytes;
    uint32_t *lengths; /* of the results, in order */
    size_t cap;        /* of lengths */
    size_t count;      /* of the batch's entries */
    size_t ended;  /* results that are complete */
    size_t begins; /* where the one under way begins in bytes */
};

struct oar_buf {
    struct oar_bytes bytes;
};

struct oar_writer {
    uintptr_t go;
    oar_status failed;
};

struct oar_reader {
    uintptr_t go;
};

/* A pushed machine: the vtable, copied. */
struct oar_machine {
    oar_state_machine vtable;
    void *user_data;
    struct oar_results results; /* reused by every batch */
};

/* Makes one of a vtable, which is checked, and releases it. destroy calls the vtable's, once. */
oar_status oar_machine_make(const oar_state_machine *vtable, void *user_data, struct oar_machine **machine);
void oar_machine_free(struct oar_machine *m);
void oar_machine_destroy(struct oar_machine *m);
/* Sets *text to what a callback said of its failure, which has a text even if it gave none; NULL for OAR_OK. */
void oar_said(char **text, char *said, oar_status status, const char *what);
/* Has a factory make what the callbacks get. */
oar_status oar_machine_user(oar_machine_factory factory, void *user_data, uint64_t number, void **machine_user_data);

/* Each calls the callback of its name. *text is set to what oar_fail said, the caller's to free, or NULL. A snapshot is a
 * pointer to the host's pointer, which may be any number: Go must not hold it. */
oar_status oar_machine_apply(struct oar_machine *m, const oar_entry *entries, size_t count, char **text);
oar_status oar_machine_query(struct oar_machine *m, const void *query, size_t query_len, struct oar_buf *answer, char **text);
oar_status oar_machine_prepare(struct oar_machine *m, void **snapshot, char **text);
oar_status oar_machine_write(struct oar_machine *m, void **snapshot, uintptr_t go, char **text);
void oar_machine_release(struct oar_machine *m, void **snapshot);
oar_status oar_machine_restore(struct oar_machine *m, uintptr_t go, char **text);
int oar_machine_next_due(struct oar_machine *m, int64_t *time);
oar_status oar_machine_expire(struct oar_machine *m, uint64_t index, int64_t time, char **text);
uint64_t oar_machine_hash(struct oar_machine *m);

/* A piece of work for a pulled machine. */
struct oar_work_item {
    oar_work work;
    struct oar_writer writer;
    struct oar_reader reader;
    uintptr_t go; /* who is told; 0: nobody */
    bool taken;
    pthread_t by; /* whoever has taken it */
    struct oar_work_item *next;
};

struct oar_work_queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct oar_work_item *first; /* waiting and taken, in order */
    uint64_t last_id;
    unsigned waiting; /* threads in oar_work_next */
    bool closed;    /* CLOSED follows what is left */
    bool abandoned; /* everything is failed at once */
};

struct oar_work_queue *oar_work_queue_new(void);
void oar_work_queue_free(struct oar_work_queue *q);
/* Adds work and returns its id; 0: out of memory. data is the caller's until the work is done or the queue freed. */
uint64_t oar_work_push(struct oar_work_queue *q, const struct oar_work_item *item);
/* Fails what nobody has fetched, but for releases; oar_work_next says CLOSED once those are gone. */
void oar_work_close(struct oar_work_queue *q);

#define OAR_PULL_ALL (OAR_PULL_CONCURRENT_QUERIES | OAR_PULL_NO_SNAPSHOTS | OAR_PULL_STATE_HASH | OAR_PULL_SCHEDULED)

/* ---- Memberships and plans (membership.c) ---- */

/* What their bytes begin with. */
#define OAR_MARK_MEMBERSHIP 0x4d52414fu
#define OAR_MARK_PLAN 0x5052414fu

/* ---- Checks of state machines (check.c) ---- */

/* What a check knows of the machines that it makes. It lives on the stack of who called. */
struct oar_check {
    oar_state_machine vtable;
    oar_machine_factory machine_new;
    oar_generator command, query;
    void *user_data;
};

/* Makes a machine; *text is set to what a failed factory said, the caller's to free, or NULL. */
oar_status oar_check_machine(struct oar_check *c, uint64_t number, struct oar_machine **machine, char **text);
/* Destroys and releases it. */
void oar_check_release(struct oar_machine *m);
/* Has a command, or a query, be made. */
oar_status oar_check_generate(struct oar_check *c, bool query, uint64_t random, struct oar_buf *made, char **text);

/* ---- Servers (server.c) ---- */

enum oar_server_state { OAR_OPENED, OAR_STARTED, OAR_CLOSED_ONE };

struct oar_server_object {
    uintptr_t go;
    struct oar_door door;
    atomic_int state; /* enum oar_server_state */
    struct oar_machine *machine;  /* push */
    struct oar_work_queue *work;  /* pull */
    void (*log)(void *log_user_data, const oar_log_record *record);
    void *log_user_data;
    void (*log_destroy)(void *log_user_data);
    bool in_cluster; /* it is a cluster's to start and to end */
};

void oar_server_object_free(struct oar_server_object *s);

struct oar_client_object {
    uintptr_t go;
    struct oar_door door;
};

/* Copies a client's options, or the defaults, and checks them. */
oar_status oar_client_take(oar_client_options *o, const oar_client_options *options);
/* Gives a handle to a client that was made with a status, or releases it. */
oar_status oar_client_made(oar_status status, struct oar_client_object *c, oar_client **client);

struct oar_events_object {
    uintptr_t go;
    char *text, *component; /* of the last event */
};

/* Told by Go, so that what comes too early or too late is answered without it. */
void oar_server_is(struct oar_server_object *s, int state);

/* Hands a line to the log callback. */
void oar_server_log(struct oar_server_object *s, int level, const char *component, const char *text);

#endif
