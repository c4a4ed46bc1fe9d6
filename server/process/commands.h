/* commands.h - the lines that the control socket takes:
 *   identity [json]     status [json]     config [json]     top
 *   reload              reopen            workers +N|-N|N   dump     stop [now]
 * `json` may follow any of them, and changes those that know of it. A part of the master. */
#pragma once

struct client;
struct master;

void commands_obey(struct master *m, struct client *k, char *line);

/* Once a turn: is there what this client waits for? */
void commands_tend(struct master *m, struct client *k);
