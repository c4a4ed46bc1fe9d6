/* leftovers.h - removes what servers that were killed have left in a folder of control sockets (runfolder.h). */
#pragma once

/* The files NAME-PID.pid and NAME-PID.sock whose owners are gone. Those without a number stay: the next server at that
 * address replaces them, so they do not become more. And they are better not locked by anybody else, not even for a
 * moment: a `cwsgictl start` in this moment would believe that its server runs. */
void leftovers_remove(const char *folder);
