/**
 * The schemas that have a name, in the order in which `/openapi.json` shows them: that is the order in which they are first
 * loaded, so `app.ts` imports this file before all others. Otherwise the document would change whenever an import moves.
 */
import '../../shared/platform/problem-schema.ts';
import '../../shared/access/schema.ts';
import '../../shared/audit/entry-view.ts';
import '../../shared/events/schema.ts';
import '../../shared/keys/schema.ts';
import '../../shared/audit/checkpoint-view.ts';
import '../../shared/credentials/exchange/authorization-schema.ts';
import '../../shared/credentials/view.ts';
import '../../shared/delivery/subscription-schema.ts';
import '../../shared/incidents/schema.ts';
import '../../shared/report/schema.ts';
