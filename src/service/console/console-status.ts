/** What the console shows beside the API's objects. The console's own code uses this type too. */
export interface ConsoleStatus {
  readonly version: string;
  /** Bytes; missing where the place cannot tell now. */
  readonly store?: { readonly capacity: number; readonly used: number; readonly free: number };
}
