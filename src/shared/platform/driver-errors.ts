/** What the failures of the MongoDB driver mean. `toAppError` asks here, so that each is classified once. */
import { MongoBulkWriteError, MongoError, MongoServerError } from 'mongodb';

/** MongoDB's 11000, also inside a bulk write. */
export function isDuplicateKey(error: unknown): boolean {
  if (error instanceof MongoBulkWriteError) return [error.writeErrors].flat().some((write) => write.code === 11000);
  return error instanceof MongoError && error.code === 11000;
}

/** Whether the server was not there to say no; undefined for what is no failure of the driver. */
export function isStoreAway(error: unknown): boolean | undefined {
  if (!(error instanceof MongoError)) return undefined;
  return !(error instanceof MongoServerError) || isPassing(error) || isUnconfirmed(error);
}

/** Written, but a majority has not said so: the server went away meanwhile, or all that it refused is passing. */
function isUnconfirmed(error: MongoServerError): boolean {
  if (!(error instanceof MongoBulkWriteError)) return false;
  return [error.writeErrors].flat().every(({ code }) => PASSING_CODES.includes(Number(code)));
}

/** Codes of a server that is stepping down, starting, or shutting down, and labels that promise a retry may help. */
const PASSING_CODES = [6, 7, 50, 64, 89, 91, 112, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];

function isPassing(error: MongoServerError): boolean {
  const labels = ['TransientTransactionError', 'UnknownTransactionCommitResult', 'RetryableWriteError'];
  return PASSING_CODES.includes(Number(error.code)) || labels.some((label) => error.hasErrorLabel(label));
}
