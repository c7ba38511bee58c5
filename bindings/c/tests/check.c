/* Checks of state machines: on which thread they call back, what they find, how they end. What they find in what kind of machine
 * is shown by examples/c-broken. */
#include "harness.h"

/* A sum with one mistake, or none. */
enum mistake { NONE, RANDOM, FAILING, CANCELLING, STUCK_CLOCK, FORGETS, STOPS, HALF };

static struct state {
    pthread_t caller;
    enum mistake mistake;
    int made, destroyed, captured, released, applied, generated, hashes, queries, inside;
    int fails_at;                  /* of machine_new: the number */
    uint64_t last;                 /* hash of the first machine, which executes the commands once */
    bool generator_fails, factory_cancels, tries;
    bool ended;
} the;

struct tally {
    uint64_t sum, count;
    int64_t due;
};

static void try_everything(void);

/* Every callback is on the caller's thread, alone, and before the end. */
static void enter(void) {
    CHECK(pthread_equal(pthread_self(), the.caller) && the.inside == 0 && !the.ended);
    the.inside++;
    if (the.tries) the.tries = false, try_everything();
}
static oar_status leave(oar_status status) {
    the.inside--;
    return status;
}

static oar_status tally_new(void *user_data, uint64_t number, void **machine) {
    CHECK(user_data == &the && number == (uint64_t)the.made + 1);
    enter();
    if (the.factory_cancels) return leave(OAR_ERR_CANCELLED);
    if (the.fails_at == (int)number) return leave(oar_fail("no more paper"));
    the.made++;
    *machine = calloc(1, sizeof(struct tally));
    CHECK(*machine != NULL);
    return leave(OAR_OK);
}

static oar_status tally_apply(void *machine, const oar_entry *entries, size_t count, oar_results *results) {
    struct tally *t = machine;
    enter();
    for (size_t i = 0; i < count; i++) {
        uint64_t add = 0;
        if (entries[i].command_len >= 8) memcpy(&add, entries[i].command, 8);
        the.applied++;
        if (the.mistake == FAILING && t->count == 5) return leave(oar_fail("the ink is dry"));
        if (the.mistake == CANCELLING && the.applied == 100) return leave(OAR_ERR_CANCELLED);
        if (the.mistake == RANDOM && t->count == 7) add += (uint64_t)the.applied;
        t->sum += add;
        t->count++;
        if (add % 5 == 0) t->due = entries[i].time + 1000;
        OK(oar_results_add(results, &t->sum, sizeof t->sum));
    }
    return leave(OAR_OK);
}

static oar_status tally_query(void *machine, const void *question, size_t len, oar_buf *answer) {
    (void)question, (void)len;
    enter();
    the.queries++;
    if (len == 3) return leave(oar_fail("no such question")); /* an answer like any other */
    return leave(oar_buf_append(answer, &((struct tally *)machine)->sum, 8));
}

static oar_status tally_prepare(void *machine, void **snapshot) {
    enter();
    the.captured++;
    *snapshot = malloc(sizeof(struct tally));
    CHECK(*snapshot != NULL);
    memcpy(*snapshot, machine, sizeof(struct tally));
    return leave(OAR_OK);
}

static oar_status tally_write(void *machine, void *snapshot, oar_writer *writer) {
    (void)machine;
    enter();
    return leave(oar_writer_write(writer, snapshot, sizeof(struct tally)));
}

static void tally_release(void *machine, void *snapshot) {
    (void)machine;
    enter();
    the.released++;
    free(snapshot);
    leave(OAR_OK);
}

static oar_status tally_restore(void *machine, oar_reader *reader) {
    struct tally t;
    size_t got;
    enter();
    /* Checks give a few bytes at a time: one call is enough all the same. */
    size_t want = the.mistake == STOPS ? sizeof t - 1 : sizeof t; /* the last byte of the time is nearly always 0 */
    memset(&t, 0, sizeof t);
    if (the.mistake == HALF) ((struct tally *)machine)->sum++;
    oar_status status = oar_reader_read(reader, &t, want, &got);
    if (status != OAR_OK) return leave(status);
    if (got < want) return leave(oar_fail("Restore: too short"));
    if (the.mistake == FORGETS) t.count = 0;
    memcpy(machine, &t, sizeof t);
    return leave(OAR_OK);
}

static int tally_next_due(void *machine, int64_t *time) {
    enter();
    *time = ((struct tally *)machine)->due;
    return leave(*time != 0);
}

static oar_status tally_expire(void *machine, uint64_t index, int64_t time) {
    struct tally *t = machine;
    enter();
    CHECK(index > 0);
    if (t->due <= time && the.mistake != STUCK_CLOCK) t->due = 0, t->sum++;
    return leave(OAR_OK);
}

static uint64_t tally_hash(void *machine) {
    struct tally *t = machine;
    enter();
    the.hashes++;
    uint64_t hash = t->sum * 31 + t->count * 7 + (uint64_t)t->due;
    if (the.made == 1) the.last = hash;
    leave(OAR_OK);
    return hash;
}

static void tally_destroy(void *machine) {
    enter();
    the.destroyed++;
    free(machine);
    leave(OAR_OK);
}

static const oar_state_machine tally = {
    sizeof tally, 0,           tally_apply,   tally_query,    tally_prepare, tally_write,
    tally_release, tally_restore, tally_next_due, tally_expire, tally_hash,    tally_destroy,
};

static oar_status command(void *user_data, uint64_t random, oar_buf *made) {
    CHECK(user_data == &the);
    enter();
    the.generated++;
    if (the.generator_fails && the.generated == 50) return leave(oar_fail("out of numbers"));
    return leave(oar_buf_append(made, &random, sizeof random));
}

static oar_check_options options(void) {
    oar_check_options o;
    OAR_INIT(&o);
    o.machine = &tally, o.machine_new = tally_new, o.command = command, o.user_data = &the;
    o.flags = OAR_CHECK_SNAPSHOTS_UNCHECKED;
    o.clusters = 3;
    return o;
}

typedef oar_status (*check)(const oar_check_options *options, char **report);

/* Runs one, and looks at what it leaves behind: nothing. */
static oar_status run(check check, const oar_check_options *o, enum mistake mistake, char **report) {
    the.caller = pthread_self();
    the.mistake = mistake;
    the.made = the.destroyed = the.captured = the.released = the.applied = the.generated = the.hashes = the.queries = 0;
    the.ended = false;
    oar_status status = check(o, report);
    the.ended = true;
    CHECK(the.destroyed == the.made && the.released == the.captured && the.inside == 0);
    CHECK(counts().bytes == 0);
    return status;
}

static void passes(void) {
    char *report;
    oar_check_options o = options();
    OK(run(oar_state_machine_check, &o, NONE, &report));
    HAS(report, "\"findings\":[]");
    HAS(report, "\"clusters\":0");
    CHECK(the.made > 10 && the.applied > 3000 && the.captured > 5 && the.hashes > 1000 && the.queries > 100);
    oar_free(report);
    OK(run(oar_sim_run, &o, NONE, &report));
    HAS(report, "\"findings\":[]");
    HAS(report, "\"clusters\":3");
    oar_free(report);
    OK(run(oar_sim_run, &o, NONE, NULL));
    o.command = NULL;
    o.query = command;
    OK(run(oar_state_machine_check, &o, NONE, &report)); /* of random bytes, which it says */
    HAS(report, "random bytes; give commands");
    oar_free(report);
}

/* A report has the hash of the state after the last command, where there is one. */
static void has_final_hash(void) {
    char want[40], *report;
    oar_state_machine unhashed = tally;
    oar_check_options o = options();
    unhashed.state_hash = NULL;
    OK(run(oar_state_machine_check, &o, NONE, &report));
    snprintf(want, sizeof want, "\"final\":\"%016llx\"", (unsigned long long)the.last);
    HAS(report, want);
    HAS(report, "\"final\":\"5456db2e909ccf81\""); /* as in every process */
    oar_free(report);
    OK(run(oar_sim_run, &o, NONE, &report));
    HAS(report, want);
    oar_free(report);
    o.seed = 2;
    OK(run(oar_state_machine_check, &o, NONE, &report));
    CHECK(strstr(report, want) == NULL);
    oar_free(report);
    IS(run(oar_state_machine_check, &o, FAILING, &report), OAR_ERR_CHECK_FAILED); /* before its last command */
    HAS(report, "\"final\":\"\"");
    oar_free(report);
    o.machine = &unhashed;
    OK(run(oar_state_machine_check, &o, NONE, &report)); /* of a snapshot */
    CHECK(strspn(strstr(report, "\"final\":\"") + 9, "0123456789abcdef") == 16);
    oar_free(report);
    o.flags |= OAR_CHECK_SNAPSHOTS_VARY;
    OK(run(oar_state_machine_check, &o, NONE, &report));
    HAS(report, "\"final\":\"\"");
    oar_free(report);
}

/* The same seed finds the same, and says how it is found again. */
static void finds(void) {
    static char first[1 << 16];
    char *report;
    oar_check_options o = options();
    o.seed = 5;
    SAYS(run(oar_state_machine_check, &o, FORGETS, &report), OAR_ERR_CHECK_FAILED, "a restored snapshot equals replay");
    HAS(oar_last_error(), "hash ");
    HAS(oar_last_error(), "again with seed=5");
    CHECK(class_bits() == 0 && cause() == OAR_ERR_CHECK_FAILED && strlen(report) < sizeof first);
    strcpy(first, report);
    HAS(report, "\"hashes\":[\"");
    HAS(report, "\"seed\":5");
    HAS(report, "\"clustered\":false");
    oar_free(report);
    IS(run(oar_sim_run, &o, FORGETS, &report), OAR_ERR_CHECK_FAILED); /* alone is enough */
    CHECK(report != NULL);
    HAS(report, "clusters, because the machine fails alone");
    oar_free(report);
    IS(run(oar_state_machine_check, &o, FORGETS, &report), OAR_ERR_CHECK_FAILED);
    CHECK(strcmp(first, report) == 0);
    oar_free(report);
    SAYS(run(oar_state_machine_check, &o, RANDOM, NULL), OAR_ERR_CHECK_FAILED, "at command");
    SAYS(run(oar_state_machine_check, &o, STOPS, NULL), OAR_ERR_CHECK_FAILED, "left 1 bytes of the snapshot unread");
    SAYS(run(oar_state_machine_check, &o, STUCK_CLOCK, NULL), OAR_ERR_CHECK_FAILED, "next_due is still due after expire");
    /* In words of this header; the machine's own stay. */
    SAYS(run(oar_state_machine_check, &o, HALF, NULL), OAR_ERR_CHECK_FAILED, "have the capture of a snapshot fail from then on");
    HAS(oar_last_error(), "\"Restore: too short\"");
    o.flags = 0;
    SAYS(run(oar_state_machine_check, &o, NONE, NULL), OAR_ERR_CHECK_FAILED, "set OAR_CHECK_SNAPSHOTS_UNCHECKED");
    /* A machine that fails is a finding, with its own words. */
    SAYS(run(oar_state_machine_check, &o, FAILING, NULL), OAR_ERR_CHECK_FAILED, "the ink is dry");
}

/* A query that fails has answered. One that returns no status, or what the library says of a wrong argument, has not. */
static oar_status query_status;
static oar_status failing_query(void *machine, const void *question, size_t len, oar_buf *answer) {
    (void)machine, (void)question, (void)len;
    return query_status == OAR_OK ? oar_buf_append(answer, NULL, 4) : query_status;
}
static void finds_queries_without_an_answer(void) {
    oar_state_machine m = tally;
    oar_check_options o = options();
    oar_status wrong[] = {OAR_OK, OAR_ERR_ARGUMENT, -3, 42}, right[] = {OAR_ERR_STATE_MACHINE, OAR_ERR_NOT_FOUND, OAR_ERR_NO_MEMORY};
    m.query = failing_query;
    o.machine = &m, o.clusters = 1;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        query_status = wrong[i];
        SAYS(run(oar_state_machine_check, &o, NONE, NULL), OAR_ERR_CHECK_FAILED, "got no answer: query returned ");
        CHECK(strstr(oar_last_error(), "stop") == NULL);
    }
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        query_status = right[i];
        OK(run(oar_sim_run, &o, NONE, NULL));
    }
}

/* What is found only in a cluster has the cluster's seed and its story. */
static uint64_t age, sound_until = UINT64_MAX; /* restores of all machines: later ones differ in what they restored */
static oar_status aging_restore(void *machine, oar_reader *reader) {
    oar_status status = tally_restore(machine, reader);
    if (status != OAR_OK) return status;
    if (++age > sound_until) ((struct tally *)machine)->sum++;
    return OAR_OK;
}

static void finds_in_clusters(void) {
    char *report;
    oar_state_machine m = tally;
    oar_check_options o = options();
    m.restore = aging_restore;
    o.machine = &m;
    OK(run(oar_state_machine_check, &o, NONE, NULL));
    sound_until = 2 * age; /* so often is restored in the checks of one machine alone, which come first below */
    o.clusters = 50, o.clusters_from = 3;
    SAYS(run(oar_sim_run, &o, NONE, &report), OAR_ERR_CHECK_FAILED, "again with clusters_from=");
    HAS(report, "\"clustered\":true");
    HAS(report, "\"story\":\"");
    oar_free(report);
}

/* ---- Ends ---- */

static void ends(void) {
    char *report = (char *)1;
    oar_check_options o = options();
    check both[] = {oar_state_machine_check, oar_sim_run};
    for (int i = 0; i < 2; i++) {
        report = (char *)1;
        SAYS(run(both[i], &o, CANCELLING, &report), OAR_ERR_CANCELLED, "");
        CHECK(report == NULL && the.applied == 100); /* nothing is called after that */
        the.fails_at = 4;
        SAYS(run(both[i], &o, NONE, &report), OAR_ERR_STATE_MACHINE, "no more paper");
        CHECK(report == NULL && the.made == 3);
        the.fails_at = 0, the.factory_cancels = true;
        IS(run(both[i], &o, NONE, &report), OAR_ERR_CANCELLED);
        the.factory_cancels = false, the.generator_fails = true;
        SAYS(run(both[i], &o, NONE, &report), OAR_ERR_STATE_MACHINE, "out of numbers");
        the.generator_fails = false;
        OK(run(both[i], &o, NONE, NULL));
    }
}

/* ---- Misuse ---- */

#define REFUSED(expression) IS(expression, OAR_ERR_WOULD_DEADLOCK)
static oar_server *server;
static int answers;
static void answered(void *user_data, const oar_completion *c) { (void)user_data, (void)c, ADD(answers); }
static void try_everything(void) {
    oar_check_options o = options();
    char *report;
    REFUSED(oar_state_machine_check(&o, &report));
    REFUSED(oar_sim_run(&o, &report));
    REFUSED(oar_propose(server, NULL, "+1", 2, OAR_FOREVER, NULL, NULL));
    OK(oar_propose_async(server, NULL, "+1", 2, answered, NULL));
    EVENTUALLY(GET(answers) > 0);
}

static void misuse(void) {
    struct machine m;
    char *report = (char *)1;
    oar_state_machine vtable = tally;
    oar_check_options o = options();
    the.caller = pthread_self();
    IS(oar_state_machine_check(NULL, &report), OAR_ERR_ARGUMENT);
    CHECK(report == NULL);
#define WRONG(change, status, part)                                                                                    \
    o = options();                                                                                                     \
    change;                                                                                                            \
    report = (char *)1;                                                                                                \
    SAYS(oar_state_machine_check(&o, &report), status, part);                                                          \
    CHECK(report == NULL);                                                                                             \
    SAYS(oar_sim_run(&o, &report), status, part)
    WRONG(o.flags = 4, OAR_ERR_FLAGS, "flags");
    WRONG(o.machine = NULL, OAR_ERR_ARGUMENT, "machine of");
    WRONG(o.machine_new = NULL, OAR_ERR_ARGUMENT, "machine_new");
    WRONG(o.commands = UINT32_MAX, OAR_ERR_ARGUMENT, "commands");
    WRONG(o.clusters_from = UINT64_MAX, OAR_ERR_ARGUMENT, "clusters_from");
    WRONG(o.struct_size = 8, OAR_ERR_STRUCT_SIZE, "oar_check_options");
    vtable.snapshot_write = NULL, vtable.snapshot_prepare = NULL, vtable.restore = NULL;
    WRONG(o.machine = &vtable, OAR_ERR_ARGUMENT, "compared by snapshots");
    vtable = tally, vtable.query = NULL;
    WRONG(o.machine = &vtable, OAR_ERR_ARGUMENT, "query");
    vtable = tally, vtable.flags = 8;
    WRONG(o.machine = &vtable, OAR_ERR_FLAGS, "flags of oar_state_machine");
    machine_init(&m);
    server = single(&machine_plain, &m);
    o = options(), the.tries = true;
    the.caller = pthread_self(), the.ended = false;
    OK(oar_state_machine_check(&o, NULL));
    CHECK(!the.tries);
    OK(oar_server_free(server));
    int status;
    pid_t pid = fork();
    if (pid == 0) _exit(oar_state_machine_check(&o, &report) == OAR_ERR_FORKED && oar_sim_run(&o, &report) == OAR_ERR_FORKED ? 0 : 1);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* Two threads may check at the same time: each has its callbacks on itself. */
static oar_status other_new(void *user_data, uint64_t number, void **machine) {
    CHECK(pthread_equal(pthread_self(), *(pthread_t *)user_data));
    return (void)number, (*machine = calloc(1, sizeof(long))) == NULL ? oar_fail("no memory") : OAR_OK;
}
static oar_status other_apply(void *machine, const oar_entry *entries, size_t count, oar_results *results) {
    for (size_t i = 0; i < count; i++) {
        *(long *)machine += (long)entries[i].command_len;
        OK(oar_results_add(results, machine, sizeof(long)));
    }
    return OAR_OK;
}
static oar_status other_query(void *machine, const void *q, size_t len, oar_buf *answer) { return (void)q, (void)len, oar_buf_append(answer, machine, sizeof(long)); }
static oar_status other_write(void *machine, void *snapshot, oar_writer *writer) {
    long value = (long)(intptr_t)snapshot;
    return (void)machine, oar_writer_write(writer, &value, sizeof value);
}
static oar_status other_prepare(void *machine, void **snapshot) { return *snapshot = (void *)(intptr_t)*(long *)machine, OAR_OK; }
static oar_status other_restore(void *machine, oar_reader *reader) {
    char bytes[sizeof(long) + 1];
    size_t len = 0, got = 1;
    while (got > 0 && len < sizeof bytes) {
        oar_status status = oar_reader_read(reader, bytes + len, sizeof bytes - len, &got);
        if (status != OAR_OK) return status;
        len += got;
    }
    if (len != sizeof(long)) return oar_fail("not of this length");
    memcpy(machine, bytes, sizeof(long));
    return OAR_OK;
}
static void *checking(void *unused) {
    pthread_t self = pthread_self();
    oar_state_machine m = {sizeof m, 0, other_apply, other_query, other_prepare, other_write, NULL, other_restore, NULL, NULL, NULL, free};
    oar_check_options o;
    (void)unused;
    OAR_INIT(&o);
    o.machine = &m, o.machine_new = other_new, o.user_data = &self, o.flags = OAR_CHECK_SNAPSHOTS_UNCHECKED, o.clusters = 2;
    OK(oar_sim_run(&o, NULL));
    return NULL;
}

static void side_by_side(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) threads[i] = spawn(checking, NULL);
    for (int i = 0; i < 3; i++) join(threads[i]);
}

const struct phase check_phases[] = {
    {"check.passes", passes}, {"check.has-final-hash", has_final_hash}, {"check.finds", finds},
    {"check.finds-no-answer", finds_queries_without_an_answer},
    {"check.finds-in-clusters", finds_in_clusters}, {"check.ends", ends},
    {"check.misuse", misuse}, {"check.side-by-side", side_by_side}, {NULL, NULL},
};
