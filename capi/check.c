/* Checks of state machines: what Go calls back for them, on the thread that called. */
#include "internal.h"

#include "_cgo_export.h"

oar_status oar_check_machine(struct oar_check *c, uint64_t number, struct oar_machine **machine, char **text) {
    void *user_data = NULL;
    *text = NULL;
    OAR_TRY(oar_machine_make(&c->vtable, NULL, machine));
    oar_callback_enter();
    oar_status status = c->machine_new(c->user_data, number, &user_data);
    oar_said(text, oar_callback_leave(), status, "machine_new");
    (*machine)->user_data = user_data;
    if (status != OAR_OK) {
        oar_machine_free(*machine); /* there is nothing to destroy */
        *machine = NULL;
    }
    return status;
}

void oar_check_release(struct oar_machine *m) {
    oar_callback_enter();
    oar_machine_destroy(m);
    free(oar_callback_leave());
    oar_machine_free(m);
}

oar_status oar_check_generate(struct oar_check *c, bool query, uint64_t random, struct oar_buf *made, char **text) {
    oar_callback_enter();
    oar_status status = (query ? c->query : c->command)(c->user_data, random, made);
    oar_said(text, oar_callback_leave(), status, query ? "query of oar_check_options" : "command of oar_check_options");
    return status;
}

/* ---- The functions ---- */

static oar_status check_options(const oar_check_options *o) {
    if (o->flags & ~(OAR_CHECK_SNAPSHOTS_VARY | OAR_CHECK_SNAPSHOTS_UNCHECKED))
        return oar_failed(OAR_ERR_FLAGS, "flags of oar_check_options is %#x: unknown", o->flags);
    if (o->machine == NULL || o->machine_new == NULL)
        return oar_failed(OAR_ERR_ARGUMENT, "%s of oar_check_options is NULL", o->machine == NULL ? "machine" : "machine_new");
    if (o->commands > 1000000 || o->clusters > 1000000)
        return oar_failed(OAR_ERR_ARGUMENT, "%u commands and %u clusters: a million of each at most", o->commands, o->clusters);
    if (o->clusters_from > UINT64_MAX - 1000000) /* they count up from it */
        return oar_failed(OAR_ERR_ARGUMENT, "clusters_from is %llu: a million below the largest number at most",
                          (unsigned long long)o->clusters_from);
    return OAR_OK;
}

static oar_status take_vtable(struct oar_check *c, const oar_state_machine *vtable) {
    struct oar_machine *m;
    OAR_TRY(oar_machine_make(vtable, NULL, &m));
    c->vtable = m->vtable;
    c->vtable.struct_size = sizeof c->vtable;
    oar_machine_free(m);
    if (c->vtable.snapshot_write != NULL) return OAR_OK;
    return oar_failed(OAR_ERR_ARGUMENT, "snapshot_write and restore of oar_state_machine are NULL: states are compared by snapshots");
}

static oar_status run(const oar_check_options *options, char **report, bool clusters) {
    char *unwanted = NULL;
    if (report == NULL) report = &unwanted;
    *report = NULL;
    oar_check_options o;
    struct oar_check c;
    memset(&c, 0, sizeof c);
    OAR_TRY(oar_take(&o, sizeof o, options, "oar_check_options", sizeof o));
    OAR_TRY(check_options(&o));
    OAR_TRY(take_vtable(&c, o.machine));
    OAR_TRY(oar_may_wait());
    c.machine_new = o.machine_new;
    c.command = o.command;
    c.query = o.query;
    c.user_data = o.user_data;
    oar_status status = oargo_check(&c, &o, clusters, report);
    free(unwanted);
    return status;
}

oar_status oar_state_machine_check(const oar_check_options *options, char **report) {
    OAR_ENTER();
    return run(options, report, false);
}

oar_status oar_sim_run(const oar_check_options *options, char **report) {
    OAR_ENTER();
    return run(options, report, true);
}
